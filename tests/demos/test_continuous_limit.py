from __future__ import annotations

import json

import pytest


@pytest.mark.slow
def test_continuous_limit(run, tmp_path, check_written):
    result = run("continuous-limit", "--quick", "--quiet", "--json", "--output", tmp_path)
    assert result.stderr == ""
    numbers = check_written(tmp_path, n_figures=3)
    assert json.loads(result.stdout)["numbers"] == numbers
    orders = numbers["small_problem"]["orders"]
    assert orders["single flow"] == pytest.approx(0.5, abs=0.05)
    assert orders["mean of flows"] == pytest.approx(1.0, abs=0.25)
    assert orders["all halves"] == pytest.approx(1.0, abs=0.05)
    distances = numbers["swiss_roll"]["rms_distance"]
    assert distances[-1] < 0.4 * distances[0]
    assert numbers["swiss_roll"]["limit_changes_by"] < 0.5 * distances[-1]
    assert distances[-1] < 0.1 * numbers["swiss_roll"]["moved"]
    told = (tmp_path / "report.md").read_text("utf-8")
    assert f"it is {numbers['swiss_roll']['order_of_larger_steps']:.2f}." in told
    errors = numbers["small_problem"]["errors"]
    pairs = zip(errors["mean of flows"], errors["all halves"], strict=True)
    ratios = [mean / euler for mean, euler in pairs if mean is not None]
    assert f"is {min(ratios):.2g} to {max(ratios):.2g} times as far" in told
