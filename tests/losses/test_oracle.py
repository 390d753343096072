from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow import kernels, losses
from kflow.testing import slow as reference

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "oracle.json").read_text())["cases"]


@pytest.fixture(params=CASES, ids=lambda case: f"{case['kernel']}-{case['nugget']}")
def case(request):
    return request.param


def kernel_of(case):
    return kernels.from_dict({"kernel": case["kernel"], **case["params"]})


def matrix_of(case):
    X = np.array(case["X"])
    return kflow.gram(X, kernel=kernel_of(case)) + case["nugget"] * np.eye(len(X))


def by_points(G, case):
    """Contract a gradient with dK/dpoints: dK_ij = 2 k'(r^2) (x_i - x_j)'(dx_i - dx_j)."""
    X = np.array(case["X"])
    apart = X[:, None] - X[None, :]
    weights = 4 * G * reference.kernel_slope(kernel_of(case), (apart**2).sum(axis=2))
    return (weights[:, :, None] * apart).sum(axis=1)


@pytest.mark.usefixtures("engine")
class TestOracle:
    def test_rho(self, case):
        value, G = losses.rho(matrix_of(case), case["Y"], case["coarse"])
        assert value == pytest.approx(case["rho"], rel=1e-12)
        expected = np.array(case["rho_gradient_points"])
        np.testing.assert_allclose(
            by_points(G, case), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
        )

    def test_rho_by_length_scale(self, case):
        _, G = losses.rho(matrix_of(case), case["Y"], case["coarse"])
        X, h = np.array(case["X"], np.longdouble), 2.0**-12
        kernel = kernel_of(case)

        def gram(by):
            moved = dataclasses.replace(kernel, length_scale=kernel.length_scale + by)
            return reference.gram(X, kernel=moved)

        slope = (8 * (gram(h) - gram(-h)) - (gram(2 * h) - gram(-2 * h))) / (12 * h)
        assert float((G * slope).sum()) == pytest.approx(
            case["rho_gradient_length_scale"], rel=1e-8
        )

    def test_e2(self, case):
        value, G = losses.e2(matrix_of(case), case["Y"], case["coarse"])
        assert value == pytest.approx(case["e2"], rel=1e-11)
        expected = np.array(case["e2_gradient_points"])
        np.testing.assert_allclose(
            by_points(G, case), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
        )

    def test_leave_one_out(self, case):
        K, Y = matrix_of(case), np.array(case["Y"])
        residuals, _ = losses.leave_one_out(K, Y)
        expected = np.array(case["loo_residuals"]).reshape(Y.shape)
        np.testing.assert_allclose(residuals, expected, rtol=1e-9, atol=1e-12)
        assert losses.loo(K, Y)[0] == pytest.approx((expected**2).sum(), rel=1e-10)
