from __future__ import annotations

import pytest


@pytest.mark.slow
def test_emulator(run, tmp_path, check_written):
    run("emulator", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=4)
    for name in ("borehole", "two-stream"):
        measured = numbers[name]
        assert measured["median_error"] < 0.2
        assert 0.85 < measured["inside"] <= 1.0
        assert measured["jacobian_to_differences"] < 1e-4
    assert numbers["borehole"]["median_error"] < 0.01
