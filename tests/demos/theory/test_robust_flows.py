from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_robust_flows(run, check_written, tmp_path):
    run("robust-flows", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=1)
    held_out, test = numbers["held_out"], numbers["test"]
    assert {"no flow", "flow", numbers["best"]} <= set(test)
    assert len(held_out) == 9
    for found in held_out.values():
        assert max(found["error"]) < 0.15
        assert min(found["median_distance"]) > 0.05
    assert np.mean(held_out["flow"]["ratio_to_no_flow"]) < 1.0
    best = held_out[numbers["best"]]
    assert np.mean(best["median_distance"]) > np.mean(held_out["flow"]["median_distance"])
    assert np.mean(test[numbers["best"]]["median_distance"]) > np.mean(
        test["flow"]["median_distance"]
    )
