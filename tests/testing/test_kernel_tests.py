"""The suite for kernels finds what is wrong with one."""

from __future__ import annotations

import numpy as np
import pytest

from kflow.kernels import FunctionKernel, Gaussian
from kflow.testing import KernelTests


def squared_distances(X, Z):
    return ((X[:, None] - Z[None]) ** 2).sum(axis=2)


def suite_of(kernel, **attributes):
    suite = KernelTests()
    suite.kernel = kernel
    suite.__dict__.update(attributes)
    return suite


def test_a_wrong_derivative_is_found():
    def gaussian(X, Z, a):
        return np.exp(-a * squared_distances(X, Z))

    def wrong(X, G, a):
        return {"a": 1.01 * np.vdot(G, -squared_distances(X, X) * gaussian(X, X, a))}

    right = FunctionKernel(gaussian, {"a": 0.5})
    suite_of(right).test_derivatives()
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        suite_of(FunctionKernel(gaussian, {"a": 0.5}, gradient=wrong)).test_derivatives()


def test_an_indefinite_kernel_is_found():
    with pytest.raises(AssertionError):
        suite_of(FunctionKernel(squared_distances)).test_positive_semi_definiteness()


def test_an_asymmetric_kernel_is_found():
    with pytest.raises(AssertionError):
        suite_of(FunctionKernel(lambda X, Z: X[:, :1] - Z[:, 0])).test_symmetry_and_diagonal()


def test_values_that_are_not_those_of_the_formula_are_found():
    class OtherFormula(KernelTests):
        kernel = Gaussian(1.0)

        def slow_matrix(self, kernel, X, Z):
            return super().slow_matrix(kernel, X, Z) * (1 + 1e-10)

    with pytest.raises(AssertionError):
        OtherFormula().test_values()


def test_a_kernel_that_is_no_data_must_say_so():
    suite = suite_of(Gaussian(), is_data=False)
    with pytest.raises(AssertionError, match="must raise TypeError"):
        suite.test_plain_data()
