from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kflow
from kflow import kernels, losses
from kflow.testing import SLOW_LOSSES
from kflow.testing import slow as reference
from kflow.testing.loss_tests import LossProblem

ALL = list(losses.LOSSES)


def test_no_loss_is_lost():
    # Tests of every loss take them from these tables: a row that is lost would be missed nowhere.
    names = {"rho", "e2", "loo", "kfold", "nlml", "mmd", "lyapunov"}
    assert names <= losses.LOSSES.keys()
    assert names <= SLOW_LOSSES.keys()


def loss_of(name, p, K=None, **options):
    loss = losses.LOSSES[name]
    return loss.function(p.K if K is None else K, p.Y, *p.subsets_for(loss), **options)


def slow_loss_of(name, p, K=None):
    matrix = p.K.astype(np.longdouble) if K is None else K
    return SLOW_LOSSES[name](matrix, p.Y, *p.subsets_for(losses.LOSSES[name]))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(3, 30),
    m=st.integers(1, 20),
    n_halves=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(sorted(SLOW_LOSSES)),
    data=st.data(),
)
def test_any_shape(n, m, n_halves, seed, name, data):
    n_coarse = data.draw(
        st.integers(losses.LOSSES[name].lowest_coarse, n - 1 - (name == "lyapunov"))
    )
    p = LossProblem.random(n, m, n_halves, n_coarse, data.draw(st.integers(2, n)), seed)
    before = [array.copy() for array in (p.K, p.Y)]
    value, G = loss_of(name, p)
    assert value == pytest.approx(float(slow_loss_of(name, p)), rel=1e-8, abs=1e-12)
    np.testing.assert_array_equal(G, G.T)
    assert np.isfinite(G).all()
    for array, copy in zip((p.K, p.Y), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", ["rho", "e2", "loo", "kfold", "nlml"])
def test_two_points(name):
    K, Y = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    subsets = {"halves": [1], "folds": [0, 1]}
    arguments = [subsets[subset] for subset in losses.LOSSES[name].subsets]
    p = LossProblem(K, Y, np.array([[1]]), np.empty((1, 0, 2)), np.array([0, 1]))
    value, G = losses.LOSSES[name].function(K, Y, *arguments)
    assert value == pytest.approx(float(slow_loss_of(name, p)), rel=1e-14)
    expected = reference.symmetric_gradient(lambda k: slow_loss_of(name, p, k), K)
    np.testing.assert_allclose(G, expected, rtol=0, atol=1e-9 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", ["rho", "e2", "lyapunov"])
def test_one_coarse_row(name):
    p = LossProblem.random(6, 1, 2, n_coarse=1)
    value, G = loss_of(name, p)
    assert value == pytest.approx(float(slow_loss_of(name, p)), rel=1e-12)
    expected = reference.symmetric_gradient(lambda k: slow_loss_of(name, p, k), p.K)
    np.testing.assert_allclose(G, expected, rtol=0, atol=1e-8 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", ["rho", "lyapunov"])
@pytest.mark.parametrize("scale", [1e-170, 1e150, 1e300])
def test_the_scale_of_the_targets_does_not_matter(name, scale):
    p = LossProblem.random(12, 2, 2)
    value, G = loss_of(name, p)
    again, other = loss_of(name, dataclasses.replace(p, Y=p.Y * scale))
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(other, G, rtol=0, atol=1e-12 * np.abs(G).max())


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("name", ALL)
def test_the_scale_of_the_kernel_is_no_reason_to_refuse_it(name, scale):
    p = LossProblem.random(12, 2, 2)
    value, G = loss_of(name, p, scale * p.K)
    assert np.isfinite(value)
    assert np.isfinite(G).all()
    if name in ("rho", "e2", "loo", "kfold", "lyapunov"):
        assert value == pytest.approx(loss_of(name, p)[0], rel=1e-10)


@pytest.mark.parametrize("name", ["rho", "loo", "nlml"])
def test_points_of_very_different_variance(name):
    # As of a linear kernel: one point near the origin is not rounding noise.
    p = LossProblem.random(12)
    amplitude = np.logspace(-9, 9, 12)
    value, G = loss_of(name, p, p.K * np.outer(amplitude, amplitude))
    assert np.isfinite(value)
    assert np.isfinite(G).all()


@pytest.mark.parametrize("name", ["rho", "e2", "loo", "kfold", "nlml", "lyapunov"])
def test_duplicates_are_named(name):
    p = LossProblem.random(16, 1, 2)
    p.K[:] = reference.gram(np.arange(16.0)[:, None], kernel=kernels.Gaussian(0.5))
    first, second = sorted(p.halves[1, :2])
    p.K[second], p.K[:, second] = p.K[first], p.K[:, first]
    p.K[second, second] = 1
    with pytest.raises(kflow.SingularKernelError) as error:
        loss_of(name, p)
    # By rows of K, whichever block of it was factored.
    assert f"points {first} and {second} are the same" in str(error.value)
    assert "pass a larger nugget" in str(error.value)


@pytest.mark.parametrize("name", ["rho", "e2", "mmd", "lyapunov"])
@pytest.mark.parametrize(
    ("halves", "message"),
    [
        ([0, 1, 6], "halves names a row outside 0..5"),
        ([0, 1, -1], "halves names a row outside 0..5"),
        ([[0, 1, 2], [3, 4, 3]], "halves names row 3 twice in half 1"),
        ([0, 1, 2, 3, 4, 5], "halves must name at least . and fewer than all 6 rows of K, got 6"),
        ([[], []], "halves must hold row numbers"),
        (
            np.empty((2, 0), int),
            "halves must name at least . and fewer than all 6 rows of K, got 0",
        ),
        (np.empty((0, 3), int), r"halves must have shape \(n_halves, n_coarse\)"),
        ([[[0, 1]]], r"halves must have shape \(n_halves, n_coarse\)"),
        ([[0, 1], [2]], "halves has no rectangular shape"),
        ([0.0, 1.0], "halves must hold row numbers of K, got dtype float64"),
        (np.arange(6) < 3, "halves must hold row numbers of K, got dtype bool"),
    ],
)
def test_bad_halves(name, halves, message):
    p = LossProblem.random(6)
    p.halves = halves
    with pytest.raises((TypeError, ValueError), match=message):
        loss_of(name, p)


def test_bad_options():
    p = LossProblem.random(6)
    with pytest.raises(TypeError, match="gradient must be True or False"):
        losses.nlml(p.K, p.Y, gradient=1)
    with pytest.raises(ValueError, match="n_threads must be a positive whole number"):
        losses.nlml(p.K, p.Y, n_threads=0)


def test_looking_losses_up():
    for name in ALL:
        assert losses.get_loss(name) is losses.LOSSES[name]
        assert losses.LOSSES[name].function is getattr(losses, name)
    for bad in ("rh0", None, ["rho"]):
        with pytest.raises(ValueError, match=r"loss must be one of 'rho', 'e2', .*, got"):
            losses.get_loss(bad)
