from __future__ import annotations

import math

import numpy as np
import pytest

from kflow import kernels, losses
from kflow.errors import SingularKernelError
from kflow.learning.batches import Batch, BatchSource, uniform_rows
from kflow.learning.objective import Objective, Parameters

KERNELS = [
    kernels.Gaussian(1.2),
    kernels.Matern52((0.8, 1.5, 2.0)),
    2.0 * kernels.Gaussian(1.0, length_scale_bounds="fixed") + kernels.Linear(),
    kernels.FunctionKernel(
        lambda X, Z, shift: (X @ Z.T + shift**2) ** 2, {"shift": -0.7}, positive=()
    ),
]


def make(
    kernel, rng, loss="rho", *, nugget=0.3, learn_nugget=True, n_batches=1, n=40, weights=None
):
    X, Y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    known = losses.get_loss(loss)
    parameters = Parameters(kernel, nugget, learn_nugget, (1e-8, 1e4))
    objective = Objective(parameters, X, Y, known.function, 1, weights)
    source = BatchSource(
        X, Y, uniform_rows(X, 20), known.subsets, n_batches=n_batches, n_halves=2, n_folds=4
    )
    return objective, source(rng), X, Y


# ---- the vector ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("learn_nugget", [True, False])
def test_the_vector_stands_for_kernel_and_nugget(kernel, learn_nugget):
    parameters = Parameters(kernel, 0.3, learn_nugget, (1e-3, 10.0))
    p = len(kernel.theta)
    assert parameters.n_theta == p
    assert parameters.start.shape == parameters.lower.shape == parameters.upper.shape
    assert len(parameters.start) == p + learn_nugget
    same, nugget = parameters(parameters.start)
    np.testing.assert_allclose(same.theta, kernel.theta, rtol=1e-15)
    assert nugget == pytest.approx(0.3, rel=1e-15)
    moved, nugget = parameters(parameters.start + 0.1)
    np.testing.assert_allclose(moved.theta, kernel.theta + 0.1, rtol=1e-12)
    assert nugget == pytest.approx(0.3 * math.exp(0.1 * learn_nugget))
    np.testing.assert_array_equal(parameters.lower[:p], kernel.bounds[:, 0])
    if learn_nugget:
        assert math.exp(parameters.upper[-1]) == pytest.approx(10.0)


def test_projection_and_draws_stay_within_the_bounds(rng):
    kernel = kernels.Gaussian((1.0, 1.0), length_scale_bounds=(0.5, 200.0))
    parameters = Parameters(kernel, 1e-3, True, (1e-4, 1.0))
    far = parameters.projected(np.array([-100.0, 0.0, 100.0]))
    np.testing.assert_array_equal(far, [math.log(0.5), 0.0, 0.0])
    draws = np.array([parameters.near_start(rng) for _ in range(300)])
    assert (draws >= parameters.lower).all()
    assert (draws <= parameters.upper).all()
    decade = math.log(10.0)
    assert (np.abs(draws - parameters.start) <= decade).all()
    assert (draws[:, 0] == math.log(0.5)).any()
    assert draws[:, 0].max() > 0.9 * decade
    for draw in draws[:5]:
        parameters(draw)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0, True, (1e-8, 1.0)), ValueError, "nugget=0 has no logarithm.*learn_nugget=False"),
        ((2.0, True, (1e-8, 1.0)), ValueError, "outside nugget_bounds"),
        ((-1.0, True, (1e-8, 1.0)), ValueError, "nugget must be finite and not negative"),
        ((0.1, True, (0.0, 1.0)), ValueError, r"nugget_bounds\[0\] must be positive"),
        ((0.1, True, 3.0), TypeError, "nugget_bounds must be"),
    ],
)
def test_bad_nuggets(arguments, error, message):
    with pytest.raises(error, match=message):
        Parameters(kernels.Gaussian(), *arguments)


def test_nothing_to_learn():
    fixed = kernels.Gaussian(1.0, length_scale_bounds="fixed")
    with pytest.raises(ValueError, match="nothing to learn"):
        Parameters(fixed, 0.1, False, (1e-8, 1.0))
    assert len(Parameters(fixed, 0.1, True, (1e-8, 1.0)).start) == 1
    assert len(Parameters(kernels.Gaussian(), 0.0, False, (1e-8, 1.0)).start) == 1


# ---- the loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_gradient_by_differences(loss, kernel, weighted, rng):
    weights = np.exp(rng.normal(size=40)) if weighted else None
    objective, batches, *_ = make(kernel, rng, loss, weights=weights)
    z = objective.parameters.start
    gradient = objective(z, batches).gradient
    step = 1e-5
    for i in range(len(z)):
        e = step * np.eye(len(z))[i]
        values = [objective(point, batches).value for point in (z + e, z - e)]
        difference = (values[0] - values[1]) / (2 * step)
        assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-7 * abs(values[0]))


def test_value_is_the_losses_mean(rng):
    kernel = kernels.Gaussian(1.2)
    objective, batches, X, Y = make(kernel, rng, "e2", n_batches=3)
    expected = []
    for batch in batches:
        K = kernel(X[batch.rows]) + 0.3 * np.eye(20)
        expected.append(losses.e2(K, Y[batch.rows], *batch.subsets)[0])
    evaluation = objective(objective.parameters.start, batches)
    assert evaluation.value == pytest.approx(np.mean(expected), rel=1e-12)
    single = [objective(objective.parameters.start, [batch]).gradient for batch in batches]
    np.testing.assert_allclose(evaluation.gradient, np.mean(single, axis=0), rtol=1e-12)
    assert (evaluation.nugget, evaluation.jitter) == (pytest.approx(0.3), 0.0)
    np.testing.assert_allclose(evaluation.kernel.theta, kernel.theta)


@pytest.mark.parametrize("loss", ["rho", "loo", "nlml"])
def test_weights_divide_the_nugget(loss, rng):
    kernel, weights = kernels.Gaussian(1.2), np.exp(rng.normal(size=40))
    objective, (batch,), X, Y = make(kernel, rng, loss, weights=weights)
    w, y = weights[batch.rows], Y[batch.rows]
    A = kernel(X[batch.rows]) + np.diag(0.3 / w)
    expected = {
        "rho": lambda: losses.rho(A, y, *batch.subsets)[0],
        # Squared errors count by the weights of their rows.
        "loo": lambda: (w[:, None] * losses.leave_one_out(A, y)[0] ** 2).sum(),
        "nlml": lambda: losses.nlml(A, y)[0] + np.log(w).sum(),  # of two outputs
    }[loss]()
    value = objective(objective.parameters.start, [batch]).value
    assert value == pytest.approx(expected, rel=1e-9)


def test_a_fixed_nugget_or_kernel_leaves_its_gradient_out():
    fixed = kernels.Gaussian(1.2, length_scale_bounds="fixed")
    both = make(kernels.Gaussian(1.2), np.random.default_rng(5))
    only_kernel = make(kernels.Gaussian(1.2), np.random.default_rng(5), learn_nugget=False)
    only_nugget = make(fixed, np.random.default_rng(5))
    whole, *parts = (
        o(o.parameters.start, b).gradient for o, b, *_ in (both, only_kernel, only_nugget)
    )
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)


def test_batches_of_different_sizes(rng):
    objective, _, X, _ = make(kernels.Gaussian(1.2), rng, "loo")
    z = objective.parameters.start
    small, large = Batch(np.arange(5), ()), Batch(np.arange(len(X)), ())
    values = [objective(z, [batch]).value for batch in (small, large)]
    assert objective(z, [small, large]).value == pytest.approx(np.mean(values))


# ---- robustness ---------------------------------------------------------------------------------


def objective_of(loss, X, kernel=None, nugget=0.0, Y=None):
    kernel = kernels.Gaussian(1.0) if kernel is None else kernel
    Y = np.ones((len(X), 1)) if Y is None else Y
    return Objective(Parameters(kernel, nugget, False, (1e-8, 1.0)), X, Y, loss, 1)


def test_the_jitter_grows_tenfold_until_it_is_enough(rng):
    seen = []

    def loss(K, _):
        seen.append(K[0, 0] - 5.0)
        if K[0, 0] < 5.0 + 4e-9:
            raise np.linalg.LinAlgError
        return 1.0, np.ones_like(K)

    X = rng.normal(size=(4, 1))
    objective = objective_of(loss, X, kernels.Scaled(kernels.Gaussian(), 4.0), nugget=1.0)
    evaluation = objective(objective.parameters.start, [Batch(np.arange(4), ())])
    assert evaluation.value == 1.0
    assert evaluation.jitter == pytest.approx(5e-9)
    np.testing.assert_allclose(seen, [0.0, 5e-12, 5e-11, 5e-10, 5e-9], atol=3e-15)


def test_the_jitter_has_an_end(rng):
    seen = []

    def loss(K, _):
        seen.append(K[0, 0] - 1.0)
        raise SingularKernelError("no")

    objective = objective_of(loss, rng.normal(size=(4, 1)))
    with pytest.raises(SingularKernelError, match=r"even with 1.0e-04 added.*a larger nugget"):
        objective(objective.parameters.start, [Batch(np.arange(4), ())])
    assert len(seen) == 10
    assert max(seen) == pytest.approx(1e-4)


def test_duplicates_take_a_jitter_without_a_nugget(rng):
    X = np.repeat(rng.normal(size=(10, 2)), 2, axis=0)
    objective = objective_of(losses.nlml, X, Y=rng.normal(size=(20, 1)))
    evaluation = objective(objective.parameters.start, [Batch(np.arange(20), ())])
    assert math.isfinite(evaluation.value)
    assert 0.0 < evaluation.jitter <= 1e-8


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_nan(bad, rng):
    X = rng.normal(size=(4, 1))
    batches = [Batch(np.arange(4), ())]

    def bad_value(K, _):
        return bad, np.ones_like(K)

    def bad_gradient(K, _):
        G = np.ones_like(K)
        G[2, 1] = bad
        return 1.0, G

    for loss in (bad_value, bad_gradient):
        objective = objective_of(loss, X, nugget=0.1)
        assert math.isnan(objective(objective.parameters.start, batches).value)


def test_a_matrix_that_overflows_has_no_loss():
    X = np.array([[2e153], [4e153]])
    objective = objective_of(losses.nlml, X, 1e4 * kernels.Linear(), nugget=0.1)
    evaluation = objective(objective.parameters.start, [Batch(np.arange(2), ())])
    assert math.isnan(evaluation.value)
