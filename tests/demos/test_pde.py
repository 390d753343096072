from __future__ import annotations

import pytest

from kflow.demos.pde import ONE, descent


@pytest.mark.slow
def test_pde(run, tmp_path, check_written):
    run("pde", "--quick", "--quiet", "--output", tmp_path)
    errors = check_written(tmp_path, n_figures=3)["errors"]
    before, one, many = (
        errors[name] for name in ("b = 1", "b from one solution", "b from 4 solutions")
    )
    assert one["rho"] < 0.1 * before["rho"]
    assert one["u_error"] < 0.4 * before["u_error"]
    assert many["l2_error"] < one["l2_error"] < 0.6 * before["l2_error"]
    assert errors["the true a"]["l2_error"] == 0.0


def test_what_is_said_of_the_true_conductivity_follows_rho():
    def told(learned, true):
        return descent({ONE: {"rho": learned}, "the true a": {"rho": true}})

    assert "a is not where ρ is smallest" in told(0.001, 0.002)
    assert "smallest" not in told(0.002, 0.001)
