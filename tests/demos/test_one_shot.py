from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_one_shot(run, check_written, tmp_path):
    run("one-shot", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=4)
    page = (tmp_path / "report.html").read_text()
    assert len(numbers["errors"]) == len(numbers["errors_before"]) == 200
    assert max(numbers["errors"]) < 0.05
    assert np.std(numbers["errors_before"]) > 0.03
    layers = numbers["layers"]
    assert layers["layers"][0] == 0
    assert layers["layers"][-1] == numbers["n_layers"]
    for low, median, high in zip(layers["5 %"], layers["median"], layers["95 %"], strict=True):
        assert low <= median <= high
    assert layers["median"][-1] < 0.1 * layers["median"][0]
    assert "The worst draws" in page
