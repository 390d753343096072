from __future__ import annotations

import pytest
from PIL import Image

from kflow.demos import Options
from kflow.demos.spirals import spiral_flows, spirals
from kflow.demos.swiss_roll import summary
from kflow.linear_separation import separating_hyperplane


@pytest.mark.slow
def test_swiss_roll(run, tmp_path, check_written):
    result = run("swiss-roll", "--quick", "--output", tmp_path, "--n-threads", 1)
    assert result.stdout == f"{tmp_path / 'report.html'}\n"
    assert "part" in result.stderr
    numbers = check_written(tmp_path, n_figures=8)
    for name in ("small steps", "large steps"):
        flow = numbers[name]
        assert flow["linearly_separable"][0] is False
        assert flow["linearly_separable"][-1] is True
        assert flow["best_line_error"][0] > 0.3
        assert flow["best_line_error"][-1] == 0.0
        assert 0 < flow["first_linearly_separable"] < flow["layers"][-1]
        assert flow["rho"]["last"] < 0.4 * flow["rho"]["first"]
    assert numbers["small nugget"]["first_linearly_separable"] is None
    assert numbers["interpolation"]["error_from_10"][0] > 0.2
    assert numbers["interpolation"]["error_from_10"][-1] < 0.05
    with Image.open(tmp_path / "figures" / "small-steps-animated.gif") as image:
        assert image.n_frames > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_swiss_roll_ends_separable_whatever_the_halves(seed):
    X, y = spirals(100)
    for settings in spiral_flows(quick=True)[:2]:
        flow = settings.flow(X, y, Options(quick=True, seed=seed))
        assert separating_hyperplane(flow.points_, y) is not None


def test_the_swiss_rolls_summary_follows_its_numbers():
    def told(small, large, end):
        errors = [0.4, end]
        flows = [{"first_linearly_separable": n, "best_line_error": errors} for n in (small, large)]
        return summary(*flows, 100)

    assert told(1200, 90, 0.0).endswith(
        "unrolls the spirals: after 1200 small steps or 90 large steps a straight line separates the "
        "classes."
    )
    assert told(None, 90, 0.02).endswith(
        "after 90 large steps a straight line separates the classes. With small steps none does at "
        "any n shown. After all small steps the best line has 2.0% on its wrong side."
    )
    assert told(1200, None, 0.0).endswith("With large steps none does at any n shown.")
    neither = told(None, None, 0.25)
    assert "None" not in neither
    assert "unrolls" not in neither
    assert "none separates the classes at any n shown. After all small steps" in neither
