from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_gradient_noise(run, check_written, tmp_path):
    run("gradient-noise", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=2)
    descents = numbers["descents"]
    for found in descents.values():
        for level, rho in zip(numbers["levels"], found["rho"], strict=True):
            assert max(rho) <= level  # all are compared when they are equally far down
        assert np.all(np.diff(found["layers"], axis=0) >= 0)
    calm = descents["all points, 8 halves, step 0.5"]
    noisy = descents["all points, 1 half, step 4"]
    assert np.mean(noisy["doubling"][-1]) > 1.3 * np.mean(calm["doubling"][-1])
    assert np.mean(noisy["error"][-1]) > np.mean(calm["error"][-1]) + 0.03
    assert numbers["rank_correlation"] > 0.0
    assert numbers["gains"]["all points, 8 halves, step 0.5"] == [0.0, 0.0]
    assert len(numbers["claims"]) == 4
