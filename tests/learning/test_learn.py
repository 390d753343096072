from __future__ import annotations

import math

import numpy as np
import pytest

from kflow import kernels, learn_kernel, losses
from kflow.learning import LearnedKernel
from kflow.learning.batches import draw_halves

OPTIMIZERS = ["adam", "sgd", "nesterov", "lbfgs"]
LOSSES = list(losses.LOSSES)


def process(kernel, noise, n, rng, d=1):
    """Draw a Gaussian process at uniform points."""
    X = rng.uniform(size=(n, d))
    K = kernel(X) + 1e-10 * np.eye(n)
    return X, np.linalg.cholesky(K) @ rng.normal(size=(n, 2)) + noise * rng.normal(size=(n, 2))


def waves(n, rng, d=2):
    X = rng.uniform(-1.0, 1.0, size=(n, d))
    return X, np.sin(4.0 * X[:, 0]) + 0.05 * rng.normal(size=n)


def friedman(n, rng):
    """Friedman's first function: five inputs matter, five do not."""
    X = rng.uniform(size=(n, 10))
    Y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    Y += 10 * X[:, 3] + 5 * X[:, 4] + 0.5 * rng.normal(size=n)
    return X, (Y - Y.mean()) / Y.std()


def assert_equal_results(first, second):
    assert first.kernel == second.kernel
    assert (first.nugget, first.loss, first.best_step) == (
        second.nugget,
        second.loss,
        second.best_step,
    )
    for name, values in first.history.items():
        np.testing.assert_array_equal(values, second.history[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "tolerance"), [("e2", 1.6), ("loo", 1.6), ("kfold", 1.6), ("nlml", 1.25)]
)
def test_the_length_scale_of_a_process_is_found(loss, tolerance, rng):
    X, Y = process(kernels.Matern52(0.2), 0.1, 500, rng)
    for start in (0.05, 1.0):
        learned = learn_kernel(
            kernels.Matern52(start),
            X,
            Y,
            loss=loss,
            n_steps=150,
            random_state=0,
        )
        assert 1 / tolerance < learned.kernel.length_scale / 0.2 < tolerance
        if loss == "nlml":
            assert learned.nugget == pytest.approx(1e-2, rel=0.3)


@pytest.mark.slow
def test_rho_is_brought_to_its_minimum(rng):
    # Which is not at the process's own kernel: there its mean is 1/2, whatever the process.
    X, Y = process(kernels.Matern52(0.2), 0.0, 300, rng)
    batches = [rng.choice(300, 100, replace=False) for _ in range(60)]
    halves = [draw_halves(rng, 100, 2) for _ in batches]

    def mean_rho(length_scale):
        kernel = kernels.Matern52(length_scale)
        return np.mean(
            [
                losses.rho(kernel(X[rows]) + 1e-2 * np.eye(100), Y[rows], half, gradient=False)[0]
                for rows, half in zip(batches, halves, strict=True)
            ]
        )

    lowest = min(mean_rho(scale) for scale in np.geomspace(0.01, 2.0, 25))
    for start in (0.02, 1.0):
        learned = learn_kernel(
            kernels.Matern52(start), X, Y, learn_nugget=False, batch_size=100, random_state=0
        )
        assert mean_rho(learned.kernel.length_scale) < 1.1 * lowest
        assert learned.loss == pytest.approx(lowest, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["rho", "e2", "loo", "nlml"])
def test_the_scales_tell_which_inputs_matter(loss, rng):
    X, Y = friedman(300, rng)
    start = kernels.Gaussian((1.0,) * 10)
    learned = learn_kernel(start, X, Y, loss=loss, nugget=0.1, n_steps=200, random_state=0)
    scales = np.array(learned.kernel.length_scale)
    assert scales[:5].max() < scales[5:].min()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:learning ended at a bound of the nugget")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_optimizer_lowers_every_loss(optimizer, loss, rng):
    X, Y = waves(200, rng)
    learned = learn_kernel(
        kernels.Gaussian(2.0),
        X,
        Y,
        loss=loss,
        nugget=0.5,
        nugget_bounds=(1e-4, 10.0),
        optimizer=optimizer,
        batch_size=50,
        n_batches=4 if optimizer == "lbfgs" else 1,
        n_steps=60,
        random_state=1,
    )
    first = learned.history["loss"][: 1 if optimizer == "lbfgs" else 6].mean()
    assert learned.loss < first
    if optimizer == "lbfgs":
        assert (np.diff(learned.history["loss"]) <= 0).all()


@pytest.mark.slow
def test_a_mixture_keeps_what_the_data_need(rng):
    X = rng.uniform(0.0, 6.0, size=(300, 1))
    Y = np.sin(2 * np.pi * X[:, 0]) + 0.05 * rng.normal(size=300)
    kernel = kernels.Periodic(period=1.0, period_bounds="fixed") + kernels.Gaussian(0.1)
    start = 1.0 * kernel.kernels[0] + 1.0 * kernel.kernels[1]
    learned = learn_kernel(start, X, Y, loss="e2", nugget_bounds=(1e-4, 1.0), random_state=0)
    periodic, gaussian = (part.amplitude for part in learned.kernel.kernels)
    assert periodic > 10 * gaussian


def test_a_users_kernel_and_loss(rng):
    X, Y = waves(150, rng, d=1)
    kernel = kernels.FunctionKernel(
        lambda X, Z, scale: np.exp(-(((X - Z.T) / scale) ** 2) / 2), {"scale": 2.0}
    )

    def likelihood(K, Y):
        L = np.linalg.cholesky(K)
        P = np.linalg.inv(K)
        a = P @ Y
        value = 0.5 * np.sum(Y * a) + np.log(np.diag(L)).sum() + 0.5 * len(K) * np.log(2 * np.pi)
        return value, 0.5 * (P - a @ a.T)

    settings = {"nugget": 0.1, "batch_size": 40, "n_steps": 40, "random_state": 0}
    mine = learn_kernel(kernel, X, Y, loss=likelihood, **settings)
    same = learn_kernel(kernels.Gaussian(2.0), X, Y, loss="nlml", **settings)
    assert mine.kernel.parameters["scale"] == pytest.approx(same.kernel.length_scale, rel=1e-4)
    assert mine.nugget == pytest.approx(same.nugget, rel=1e-4)
    np.testing.assert_allclose(mine.history["loss"], same.history["loss"], rtol=1e-5)


def test_a_fixed_nugget_and_fixed_parameters_stay(rng):
    X, Y = waves(60, rng)
    kernel = kernels.RationalQuadratic(0.5, alpha=2.0, alpha_bounds="fixed")
    learned = learn_kernel(
        kernel, X, Y, nugget=0.0, learn_nugget=False, loss="e2", n_steps=10, random_state=0
    )
    assert learned.nugget == 0.0
    assert learned.kernel.alpha == 2.0
    assert learned.kernel.length_scale != 0.5
    np.testing.assert_array_equal(learned.history["nugget"], np.zeros(10))
    fixed = kernels.Gaussian(0.5, length_scale_bounds="fixed")
    learned = learn_kernel(fixed, X, Y, n_steps=10, random_state=0)
    assert learned.kernel == fixed
    assert learned.nugget != 1e-2
    assert learned.history["theta"].shape == (10, 0)


def test_neighbours_see_short_length_scales(rng):
    # In 10000 points a uniform batch of 100 has next to no two within the length scale.
    X = rng.uniform(size=(10000, 2))
    Y = np.sin(60.0 * X[:, 0]) * np.sin(60.0 * X[:, 1])
    found = {}
    for batches in ("uniform", "neighbours"):
        found[batches] = learn_kernel(
            kernels.Gaussian(0.02),
            X,
            Y,
            loss="loo",
            batches=batches,
            batch_size=100,
            n_steps=60,
            learn_nugget=False,
            nugget=1e-3,
            random_state=0,
        ).kernel.length_scale
    assert abs(math.log(found["neighbours"] / 0.04)) < abs(math.log(found["uniform"] / 0.04))


def test_the_result_is_the_mean_of_the_best_window(rng):
    X, Y = waves(100, rng)
    learned = learn_kernel(kernels.Gaussian(1.0), X, Y, batch_size=30, n_steps=50, random_state=3)
    assert isinstance(learned, LearnedKernel)
    history = learned.history
    assert set(history) == {"loss", "theta", "nugget", "jitter"}
    assert history["theta"].shape == (50, 1)
    assert history["loss"].shape == history["nugget"].shape == history["jitter"].shape == (50,)
    assert learned.n_steps == 50
    means = [history["loss"][last - 4 : last + 1].mean() for last in range(4, 50)]
    assert learned.loss == pytest.approx(min(means), rel=1e-12)
    assert learned.best_step == 4 + int(np.argmin(means))
    window = slice(learned.best_step - 4, learned.best_step + 1)
    np.testing.assert_allclose(learned.kernel.theta, history["theta"][window].mean(axis=0))
    assert math.log(learned.nugget) == pytest.approx(np.log(history["nugget"][window]).mean())
    np.testing.assert_array_equal(learned.restarts, [learned.loss])


def test_the_first_step_is_at_the_start(rng):
    X, Y = waves(100, rng)
    kernel = kernels.Gaussian((1.0, 2.0))
    for optimizer in OPTIMIZERS:
        learned = learn_kernel(kernel, X, Y, nugget=0.2, optimizer=optimizer, n_steps=3)
        np.testing.assert_array_equal(learned.history["theta"][0], kernel.theta)
        assert learned.history["nugget"][0] == pytest.approx(0.2)


def test_lbfgs_ends_at_its_last_iterate(rng):
    X, Y = waves(150, rng)
    learned = learn_kernel(
        kernels.Gaussian(1.0), X, Y, loss="nlml", optimizer="lbfgs", batch_size=150, random_state=0
    )
    assert learned.best_step == learned.n_steps - 1 == len(learned.history["loss"]) - 1
    assert learned.loss == learned.history["loss"][-1]
    np.testing.assert_allclose(learned.kernel.theta, learned.history["theta"][-1], rtol=1e-12)
    # All rows in one batch: the minimum of the whole likelihood.
    nudged = {}
    for factor in (0.99, 1.0, 1.01):
        K = learned.kernel.with_params(length_scale=factor * learned.kernel.length_scale)(X)
        nudged[factor] = losses.nlml(K + learned.nugget * np.eye(150), Y)[0]
    assert min(nudged, key=nudged.get) == 1.0
    few = learn_kernel(kernels.Gaussian(1.0), X, Y, optimizer="lbfgs", n_steps=2, random_state=0)
    assert few.n_steps <= 3


@pytest.mark.slow
def test_the_better_run_wins(rng):
    X, Y = waves(200, rng)
    kernel = kernels.Gaussian(1e-3)  # so short that K is the identity: no gradient to follow
    settings = {"loss": "e2", "batch_size": 60, "n_steps": 40, "random_state": 4}
    alone = learn_kernel(kernel, X, Y, **settings)
    learned = learn_kernel(kernel, X, Y, n_restarts=6, **settings)
    assert learned.restarts.shape == (7,)
    assert learned.restarts[0] == alone.loss
    assert learned.loss == learned.restarts.min() < alone.loss
    starts = learned.history["theta"][0] - kernel.theta
    assert (np.abs(starts) <= math.log(10.0)).all()


@pytest.mark.slow
@pytest.mark.usefixtures("always_a_team")
@pytest.mark.filterwarnings("ignore::kflow.errors.BoundsWarning")  # of the few long first steps
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("loss", LOSSES)
def test_results_repeat_and_do_not_depend_on_threads(optimizer, loss, rng):
    X, Y = waves(300, rng)
    first, *others = (
        learn_kernel(
            1.0 * kernels.Matern32((0.7, 0.9)),
            X,
            Y,
            loss=loss,
            optimizer=optimizer,
            batches="neighbours",
            batch_size=80,
            n_steps=3,
            random_state=7,
            n_threads=n_threads,
        )
        for n_threads in (1, 2, 3)
    )
    for other in others:
        assert_equal_results(first, other)


def test_the_generator_decides(rng):
    X, Y = waves(100, rng)

    def learned(random_state):
        return learn_kernel(
            kernels.Gaussian(), X, Y, batch_size=20, n_steps=5, random_state=random_state
        )

    assert_equal_results(learned(1), learned(np.random.default_rng(1)))
    assert learned(1).loss != learned(2).loss
    assert learned(None).loss != learned(None).loss
    generator = np.random.default_rng(1)
    assert learned(generator).loss != learned(generator).loss


def test_data_are_taken_in_any_form_and_left_alone(rng):
    X, Y = waves(60, rng)
    settings = {"batch_size": 20, "n_steps": 5, "random_state": 0}
    before = X.copy(), Y.copy()
    expected = learn_kernel(kernels.Gaussian(), X, Y, **settings)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])
    for other in ((X.tolist(), Y.tolist()), (np.asfortranarray(X), Y[:, None])):
        assert_equal_results(learn_kernel(kernels.Gaussian(), *other, **settings), expected)
    single = learn_kernel(kernels.Gaussian(), X.astype(np.float32), Y, **settings)
    assert single.loss == pytest.approx(expected.loss, rel=1e-4)
    assert single.history["theta"].dtype == np.float64


def test_weights(rng):
    X, Y = waves(80, rng)
    settings = {"batch_size": 40, "n_steps": 5, "random_state": 0, "loss": "e2"}
    expected = learn_kernel(kernels.Gaussian(), X, Y, **settings)
    ones = learn_kernel(kernels.Gaussian(), X, Y, sample_weight=np.ones(80), **settings)
    assert_equal_results(ones, expected)
    for weights, message in (
        (np.ones(79), "sample_weight must have 80 rows"),
        (np.zeros(80), "sample_weight must be positive"),
        (np.full(80, np.nan), "sample_weight contains NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            learn_kernel(kernels.Gaussian(), X, Y, sample_weight=weights, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["e2", "loo", "nlml"])
def test_noisy_rows_count_less(loss, rng):
    """Half of the rows are noisy; told so, learning finds the noise of the others."""
    X = rng.uniform(-1.0, 1.0, (300, 1))
    noise = np.where(np.arange(300) % 2, 0.5, 0.01)
    Y = np.sin(6.0 * X[:, 0]) + noise * rng.normal(size=300)
    kernel = 1.0 * kernels.Gaussian(0.5) if loss == "nlml" else kernels.Gaussian(0.5)
    learned = learn_kernel(
        kernel,
        X,
        Y,
        loss=loss,
        nugget=1e-3,
        sample_weight=(0.01 / noise) ** 2,
        batch_size=300,
        optimizer="lbfgs",
        random_state=0,
    )
    K = learned.kernel(X) + learned.nugget * np.diag((noise / 0.01) ** 2)
    mean = learned.kernel(X) @ np.linalg.solve(K, Y)
    assert np.abs(mean - np.sin(6.0 * X[:, 0])).max() < 0.02
