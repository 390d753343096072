"""Every kernel passes the tests of `kflow.testing`, with one length scale and with several."""

from __future__ import annotations

import numpy as np
import pytest

from kflow.kernels import (
    Cauchy,
    Constant,
    FunctionKernel,
    Gaussian,
    Linear,
    Matern32,
    Matern52,
    OnColumns,
    Periodic,
    Polynomial,
    RationalQuadratic,
    Wendland,
)
from kflow.kernels.radial import RADIAL
from kflow.testing import KernelTests


def _function(X, Z, a, b):
    return a * np.exp(-b * ((X[:, None] - Z[None]) ** 2).sum(axis=2))


def radial_kernels(d):
    """Every radial kernel of the table."""
    lengths = np.linspace(1.0, 2.0, d)
    # Further parameters with one length scale, and with several.
    options = {
        Wendland: ({"dimension": d}, {"dimension": d + 2}),
        RationalQuadratic: ({"alpha": 0.7}, {"alpha": 2.0}),
    }
    made = {}
    for number, family in enumerate(RADIAL.values()):
        one, several = options.get(family, ({}, {}))
        # Of length scales that are not small, all are far from singular and from zero.
        unit = 3.0 if family is Wendland else 1.0
        made[family.__name__] = family(unit * (1.1 + 0.1 * number), **one)
        made[f"{family.__name__}-ard"] = family(unit * lengths, **several)
    return made


def other_kernels(d):
    """Every other kernel, and composites."""
    lengths = np.linspace(1.0, 2.0, d)
    ends = list(dict.fromkeys([d - 1, 0]))
    function = FunctionKernel(_function, {"a": 2.0, "b": 0.5})
    return {
        "on columns": OnColumns(Gaussian(1.3), ends),
        "on columns-ard": OnColumns(2.0 * Matern52(lengths[ends]), ends) + Linear(2.0),
        "on columns within columns": OnColumns(
            OnColumns(Periodic(1.2, 3.0), [0]) * Linear(lengths[ends]), ends
        ),
        "on columns, function": OnColumns(function, [d - 1]) + Gaussian(1.0),
        "on columns, additive": OnColumns(Gaussian(1.3), ends) + OnColumns(Matern32(1.3), ends),
        "Periodic": Periodic(1.2, 3.0),
        "Periodic-ard": Periodic(lengths, 3 * lengths),
        "Linear": Linear(2.0),
        "Linear-ard": Linear(lengths),
        "Polynomial": Polynomial(1.5, offset=0.5, degree=3),
        "Polynomial-ard": Polynomial(lengths, offset=0.5, degree=2),
        "Constant": Constant(2.0),
        "sum": 2.0 * Gaussian(1.3) + 0.5 * Matern52(lengths) + Linear(3.0) + 3.0,
        "product": Gaussian(2.0) * (1.0 + Cauchy(1.0)) * (2.0 * Periodic(1.0, 4.0)),
        "same twice": Gaussian(lengths) * Gaussian(lengths) + Gaussian(lengths),
        "nested": 3.0 * (2.0 * (0.5 * Gaussian(1.0)) + Matern32(2.0)),
        "fixed": 2.0 * Gaussian(1.3, length_scale_bounds="fixed") + Linear(2.0),
        "function": FunctionKernel(_function, {"a": 2.0, "b": 0.5}),
        "function in a composite": FunctionKernel(_function, {"a": 2.0, "b": 0.5}) * Linear(2.0)
        + Gaussian(1.0),
    }


def kernels_in(d):
    return {**radial_kernels(d), **other_kernels(d)}


def prepared(suite, name, n_columns):
    suite.n_columns = n_columns
    suite.kernel = kernels_in(n_columns)[name]
    suite.shapes = ((1, 1), (13, 7), (110, 37), (40, 99))
    suite.is_data = "function" not in name
    # Squared distances in many dimensions come from products, which round in another order.
    suite.is_symmetric_in_bits = suite.is_data and n_columns < 8
    return suite


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "always_a_team")
class TestKernels(KernelTests):
    @pytest.fixture(autouse=True, params=kernels_in(3))
    def choose_kernel(self, request):
        prepared(self, request.param, 3)


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("n_columns", [1, 2, 8, 9])
@pytest.mark.parametrize("name", kernels_in(3))
def test_other_numbers_of_columns(name, n_columns):
    suite = prepared(KernelTests(), name, n_columns)
    suite.test_values()
    suite.test_symmetry_and_diagonal()
    suite.test_derivatives()
