from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import losses
from kflow.testing import slow as reference
from kflow.testing.loss_tests import LossProblem


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "folds", [[0, 0, 0, 0, 0, 0, 1], [0, 1, 2, 2, 1, 0, 3], [6, 5, 4, 3, 2, 1, 0]]
)
@pytest.mark.parametrize("m", [1, 2])
def test_folds_of_any_size(folds, m):
    # Large folds give a product of low rank, small ones a dense one.
    p = LossProblem.random(7, m)
    value, G = losses.kfold(p.K, p.Y, folds)
    k = p.K.astype(np.longdouble)
    assert value == pytest.approx(float(reference.loss_kfold(k, p.Y, folds)), rel=1e-11)
    expected = reference.symmetric_gradient(lambda K: reference.loss_kfold(K, p.Y, folds), k)
    np.testing.assert_allclose(G, expected, rtol=0, atol=1e-8 * float(np.abs(expected).max()))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("n", [1, 2, 9, 37])
def test_leave_one_out(n):
    p = LossProblem.random(n, 3)
    residuals, variances = losses.leave_one_out(p.K, p.Y)
    expected = reference.leave_one_out(p.K.astype(np.longdouble), p.Y)
    np.testing.assert_allclose(residuals, expected[0], rtol=1e-9)
    np.testing.assert_allclose(variances, expected[1], rtol=1e-10)
    assert losses.loo(p.K, p.Y)[0] == pytest.approx((residuals**2).sum(), rel=1e-14)


@pytest.mark.usefixtures("engine", "always_a_team")
def test_threads_do_not_change_leave_one_out():
    p = LossProblem.random(150, 11)
    one, two = (losses.leave_one_out(p.K, p.Y, n_threads=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_point():
    assert losses.nlml([[4.0]], [2.0])[0] == pytest.approx(0.5 * (1 + np.log(8 * np.pi)))
    value, G = losses.loo([[4.0]], [2.0])
    assert value == pytest.approx(4)
    np.testing.assert_allclose(G, 0, atol=1e-15)


def test_an_indefinite_matrix():
    with pytest.raises(kflow.SingularKernelError):
        losses.loo([[1.0, 2.0], [2.0, 1.0]], [1.0, 2.0])
    with pytest.raises(kflow.SingularKernelError):
        losses.loo([[0.0, 0.0], [0.0, 1.0]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([0, 1, 0, 1, 0], r"folds must have shape \(6,\)"),
        ([0, 1, 0, 1, 0, -1], "folds must be numbers from 0"),
        ([0, 1, 0, 1, 0, 6], "folds must be numbers from 0"),
        ([0, 1, 0, 1, 0, 3], "folds leaves out number 2"),
        ([0, 0, 0, 0, 0, 0], "folds must name at least 2 folds"),
        ([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], "folds must hold the number of each row's fold"),
    ],
)
def test_bad_folds(folds, message):
    p = LossProblem.random(6)
    with pytest.raises((TypeError, ValueError), match=message):
        losses.kfold(p.K, p.Y, folds)
