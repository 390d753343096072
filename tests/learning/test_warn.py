from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from kflow import kernels, learn_kernel, losses
from kflow.errors import (
    BoundsWarning,
    DivergenceError,
    JitterWarning,
    LearningWarning,
    SingularKernelError,
)

OPTIMIZERS = ["adam", "sgd", "nesterov", "lbfgs"]
LOSSES = list(losses.LOSSES)


def waves(n, rng, d=2):
    X = rng.uniform(-1.0, 1.0, size=(n, d))
    return X, np.sin(4.0 * X[:, 0]) + 0.05 * rng.normal(size=n)


def test_matrices_that_are_not_positive_definite_get_a_jitter_and_one_warning(rng):
    X = np.repeat(rng.uniform(size=(30, 1)), 2, axis=0)
    Y = np.sin(X)
    with pytest.warns(JitterWarning, match="in 20 of 20 steps, until at most") as caught:
        learned = learn_kernel(
            kernels.Gaussian(0.3), X, Y, nugget=0.0, learn_nugget=False, loss="nlml", n_steps=20
        )
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert (learned.history["jitter"] > 0).all()
    assert learned.history["jitter"].max() <= 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn_kernel(kernels.Gaussian(0.3), X, Y, nugget=1e-2, loss="nlml", n_steps=20)


def test_an_indefinite_kernel_ends_in_an_error(rng):
    X, Y = waves(40, rng)
    kernel = kernels.FunctionKernel(lambda X, Z, c: -c * (X @ Z.T), {"c": 1.0})
    for optimizer in OPTIMIZERS:
        with pytest.raises(SingularKernelError, match=r"40 rows.*pass a larger nugget"):
            learn_kernel(kernel, X, Y, nugget=1e-6, optimizer=optimizer)


class Faulty:
    """A loss with a minimum at nugget 0.01 that is NaN at some of its calls."""

    def __init__(self, faults):
        self.faults, self.calls = faults, 0

    def __call__(self, K, _):
        self.calls += 1
        value = math.log(K[0, 0] - 1.0) - math.log(0.01)
        fault = math.nan if self.calls - 1 in self.faults else 1.0
        return fault * (1.0 + value**2), np.diag(
            [2 * value / (K[0, 0] - 1.0)] + [0.0] * (len(K) - 1)
        )


FIXED = kernels.Gaussian(1.0, length_scale_bounds="fixed")


def test_a_loss_that_is_not_finite_sends_learning_back(rng):
    X, Y = waves(10, rng)
    with pytest.warns(LearningWarning, match=r"in 3 of 100 steps.*halved its rate") as caught:
        learned = learn_kernel(
            FIXED, X, Y, nugget=1.0, loss=Faulty({10, 11, 40}), optimizer="sgd", n_steps=100
        )
    assert len(caught) == 1
    assert learned.nugget == pytest.approx(0.01, rel=0.1)
    loss, nugget = learned.history["loss"], learned.history["nugget"]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(loss)), [10, 11, 40])
    # Back to the last good parameters, which the next step tries again, twice as carefully.
    assert nugget[11] == nugget[12] == nugget[9]
    assert nugget[41] == nugget[39]
    step = np.abs(np.diff(np.log(nugget)))
    assert step[12] == pytest.approx(step[8] / 4, rel=0.1)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "nesterov"])
def test_five_failures_in_a_row_end_a_run_with_the_best_so_far(optimizer, rng):
    X, Y = waves(10, rng)
    loss = Faulty(set(range(20, 1000)))
    with pytest.warns(LearningWarning, match=r"in 5 of 25 steps.*; it ended 1 of 1 runs"):
        learned = learn_kernel(FIXED, X, Y, nugget=1.0, loss=loss, optimizer=optimizer)
    assert learned.n_steps == 25
    assert learned.best_step == 19
    assert math.isfinite(learned.loss)
    assert learned.nugget < 1.0


def test_lbfgs_steps_back_from_what_is_not_finite(rng):
    X, Y = waves(10, rng)

    seen = []

    def walled(K, _):
        nugget = K[0, 0] - 1.0
        distance = math.log(nugget) - math.log(0.01)
        value = math.hypot(1.0, distance)  # so straight that steps go far
        gradient = np.zeros_like(K)
        gradient[0, 0] = distance / value / nugget
        seen.append(value if nugget > 0.005 else math.nan)
        return seen[-1], gradient

    learned = learn_kernel(FIXED, X, Y, nugget=3.0, loss=walled, optimizer="lbfgs")
    assert not all(map(math.isfinite, seen))
    assert learned.nugget == pytest.approx(0.01, rel=1e-3)
    loss = Faulty(set(range(2, 1000)))
    with pytest.warns(LearningWarning, match="not finite; it ended 1 of 1 runs"):
        learned = learn_kernel(FIXED, X, Y, nugget=1.0, loss=loss, optimizer="lbfgs")
    assert np.isfinite(learned.history["loss"]).all()
    assert loss.calls < 20


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loss_that_is_never_finite_is_an_error(optimizer, rng):
    X, Y = waves(10, rng)
    loss = Faulty(set(range(1000)))
    with pytest.raises(DivergenceError, match="not finite where learning starts"):
        learn_kernel(FIXED, X, Y, loss=loss, optimizer=optimizer, n_restarts=1)
    assert loss.calls <= 10


def test_parameters_at_a_bound_are_named(rng):
    X, Y = waves(100, rng)
    kernel = kernels.Gaussian((0.5, 0.5), length_scale_bounds=(0.1, 0.6))
    for optimizer in ("adam", "lbfgs"):
        with pytest.warns(BoundsWarning, match=r"at a bound of length_scale\[1\]: ") as caught:
            learned = learn_kernel(
                kernel, X, Y, loss="e2", optimizer=optimizer, n_steps=100, random_state=0
            )
        assert len(caught) == 1
        assert learned.kernel.length_scale[1] == pytest.approx(0.6)
        assert learned.history["theta"].max() <= math.log(0.6)


@pytest.mark.slow
@pytest.mark.parametrize("lowest", [1e-7, 1e-2])
def test_a_nugget_at_its_bound_is_told_unless_there_is_no_noise(lowest, rng):
    X = rng.uniform(size=(60, 1))
    # A parameter between equal bounds is no news.
    kernel = kernels.RationalQuadratic(0.4, alpha=2.0, alpha_bounds=(2.0, 2.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learned = learn_kernel(
            kernel,
            X,
            np.sin(8 * X),
            loss="e2",
            nugget=0.1,
            nugget_bounds=(lowest, 1.0),
            random_state=0,
        )
    told = [w for w in caught if "a bound of the nugget" in str(w.message)]
    assert len(told) == (lowest == 1e-2)
    assert all(warning.filename == __file__ for warning in told)
    if told:
        assert learned.nugget == pytest.approx(1e-2)
    assert learned.kernel.alpha == pytest.approx(2.0)
