from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_edge_of_chaos(run, check_written, tmp_path):
    run("edge-of-chaos", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=3)
    random = numbers["random_layers"]
    for measured, errors, theory in zip(
        random["exponents"], random["standard_errors"], random["theory"], strict=True
    ):
        assert (np.abs(np.subtract(measured, theory)) < 4.0 * np.array(errors) + 0.05).all()
    np.testing.assert_allclose(random["distances"], random["mean_field"], rtol=0.1)
    for name in ("small nugget, small steps", "large nugget, small steps"):
        flow = numbers["flows"][name]
        assert flow["same"][-1] > flow["same"][0]
        assert flow["other"][-1] < flow["other"][0]
    scan = {name: np.array(values) for name, values in numbers["scan"].items()}
    places = np.array(numbers["as_good"])
    assert 0 < places.sum() < places.size
    assert np.abs(scan["gain"].mean(axis=2)[places]).max() < scan["gain"].max()
    groups = numbers["groups"]
    assert sum(group["flows"] for group in groups.values()) == scan["gain"].size
    assert np.mean(groups["edge"]["error"]) < np.mean(groups["explode"]["error"])
