from __future__ import annotations

import math
import signal
import warnings

import numpy as np
import pytest

import kflow
from kflow import kernels, learn_kernel, losses
from kflow.errors import (
    BoundsWarning,
    DivergenceError,
    JitterWarning,
    LearningWarning,
    SingularKernelError,
)
from kflow.learning import LearnedKernel, LearningState
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


# ---- what is learned ----------------------------------------------------------------------------


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


@pytest.mark.parametrize("loss", ["rho", "e2", "loo", "nlml"])
def test_the_scales_tell_which_inputs_matter(loss, rng):
    X, Y = friedman(300, rng)
    start = kernels.Gaussian((1.0,) * 10)
    learned = learn_kernel(start, X, Y, loss=loss, nugget=0.1, n_steps=200, random_state=0)
    scales = np.array(learned.kernel.length_scale)
    assert scales[:5].max() < scales[5:].min()


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


# ---- the result ---------------------------------------------------------------------------------


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


# ---- reproducibility ----------------------------------------------------------------------------


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


# ---- callbacks, progress, interrupts ------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_callbacks_see_every_step_and_may_end_learning(optimizer, rng):
    X, Y = waves(100, rng)
    states: list[LearningState] = []
    settings = {"optimizer": optimizer, "n_steps": 20, "n_restarts": 1, "random_state": 0}
    learned = learn_kernel(kernels.Gaussian(), X, Y, callbacks=[states.append], **settings)
    best = int(np.argmin(learned.restarts))
    seen = [state for state in states if state.run == best]
    assert [state.step for state in seen] == list(range(learned.n_steps))
    np.testing.assert_array_equal([state.loss for state in seen], learned.history["loss"])
    np.testing.assert_allclose([state.nugget for state in seen], learned.history["nugget"])
    np.testing.assert_allclose(
        [state.kernel.theta for state in seen], learned.history["theta"], rtol=1e-12, atol=1e-12
    )
    assert {state.run for state in states} == {0, 1}

    later: list[LearningState] = []
    stopped = learn_kernel(
        kernels.Gaussian(),
        X,
        Y,
        callbacks=[lambda state: state.step == 3, later.append],
        **settings,
    )
    assert stopped.n_steps == len(later) == 4
    assert len(stopped.restarts) == 1
    np.testing.assert_array_equal(
        stopped.history["loss"], [state.loss for state in states if state.run == 0][:4]
    )


def test_an_error_in_a_callback_passes_through(rng):
    X, Y = waves(40, rng)

    def fail(_):
        raise KeyError("mine")

    for optimizer in OPTIMIZERS:
        with pytest.raises(KeyError, match="mine"):
            learn_kernel(kernels.Gaussian(), X, Y, optimizer=optimizer, callbacks=[fail])


def test_interrupts_pass_through(rng):
    X, Y = waves(40, rng)
    handler = signal.getsignal(signal.SIGINT)
    for optimizer in OPTIMIZERS:
        with pytest.raises(KeyboardInterrupt):
            learn_kernel(
                kernels.Gaussian(),
                X,
                Y,
                optimizer=optimizer,
                callbacks=[lambda _: signal.raise_signal(signal.SIGINT)],
            )
    assert signal.getsignal(signal.SIGINT) is handler


def test_progress(rng, capsys):
    X, Y = waves(40, rng)
    settings = {"n_steps": 6, "n_restarts": 1, "random_state": 0}
    shown = learn_kernel(kernels.Gaussian(), X, Y, progress=True, **settings)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "12/12" in captured.err
    assert_equal_results(shown, learn_kernel(kernels.Gaussian(), X, Y, **settings))
    assert capsys.readouterr().err == ""


# ---- trouble ------------------------------------------------------------------------------------


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


def test_a_nugget_at_its_bound_or_a_parameter_between_equal_ones_is_no_news(rng):
    X = rng.uniform(size=(60, 1))
    kernel = kernels.RationalQuadratic(0.4, alpha=2.0, alpha_bounds=(2.0, 2.0))
    learned = learn_kernel(kernel, X, np.sin(8 * X), loss="e2", nugget_bounds=(1e-2, 1.0))
    assert learned.nugget == pytest.approx(1e-2)
    assert learned.kernel.alpha == pytest.approx(2.0)


# ---- targets and sizes --------------------------------------------------------------------------


def test_targets_of_zeros_teach_nothing(rng):
    X = rng.normal(size=(20, 2))
    for loss in LOSSES:
        if loss != "mmd":  # sees no targets
            with pytest.raises(ValueError, match="Y is zero everywhere"):
                learn_kernel(kernels.Gaussian(), X, np.zeros(20), loss=loss)
    learn_kernel(kernels.Gaussian(), X, np.zeros(20), loss="mmd", n_steps=2)
    learn_kernel(FIXED, X, np.zeros(20), loss=Faulty(set()), n_steps=2)


def test_constant_targets_are_a_warning(rng):
    X = rng.normal(size=(20, 2))
    with pytest.warns(LearningWarning, match="Y is constant") as caught:
        learn_kernel(kernels.Gaussian(), X, np.full((20, 2), 3.0), n_steps=2)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_or_three_rows_do(n, optimizer, rng):
    X, Y = rng.normal(size=(n, 1)), rng.normal(size=n)
    for loss in ("rho", "e2", "loo", "nlml"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoundsWarning)  # so few rows want anything
            learned = learn_kernel(
                kernels.Gaussian(), X, Y, loss=loss, optimizer=optimizer, n_steps=10, random_state=0
            )
        assert math.isfinite(learned.loss)


@pytest.mark.parametrize(("loss", "n"), [("mmd", 4), ("lyapunov", 3), ("kfold", 5)])
def test_the_smallest_batches(loss, n, rng):
    X, Y = rng.normal(size=(n, 1)), rng.normal(size=n)
    learn_kernel(kernels.Gaussian(), X, Y, loss=loss, n_steps=2)
    with pytest.raises(ValueError, match=rf"X has {n - 1} rows, fewer than the {n}"):
        learn_kernel(kernels.Gaussian(), X[1:], Y[1:], loss=loss)
    with pytest.raises(ValueError, match=rf"batch_size={n - 1} is too small.*pass {n} or more"):
        learn_kernel(kernels.Gaussian(), X, Y, loss=loss, batch_size=n - 1)


def test_kfold_takes_its_number_of_folds(rng):
    X, Y = rng.normal(size=(6, 1)), rng.normal(size=6)
    leave_one_out = learn_kernel(
        kernels.Gaussian(), X, Y, loss="kfold", n_folds=6, n_steps=3, random_state=0
    )
    loo = learn_kernel(kernels.Gaussian(), X, Y, loss="loo", n_steps=3, random_state=0)
    assert leave_one_out.loss == pytest.approx(loo.loss)
    with pytest.raises(ValueError, match="pass more or a smaller n_folds"):
        learn_kernel(kernels.Gaussian(), X, Y, loss="kfold", n_folds=7)


# ---- bad arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel": "gaussian"}, TypeError, "kernel must be one of kflow.kernels"),
        ({"kernel": kernels.Gaussian((1.0,) * 3)}, ValueError, "3 entries in length_scale"),
        ({"X": np.ones(20)}, ValueError, "X must have two dimensions"),
        ({"X": np.full((20, 2), np.nan)}, ValueError, "X contains NaN"),
        ({"X": np.empty((0, 2))}, ValueError, "X is empty"),
        ({"X": np.ones((1, 2)), "Y": [1.0]}, ValueError, "X has 1 row, fewer than the 2"),
        ({"Y": np.full(20, np.inf)}, ValueError, "Y contains NaN or infinity"),
        ({"Y": np.ones(19)}, ValueError, "Y must have 20 rows"),
        ({"Y": ["a"] * 20}, TypeError, "Y must hold real numbers"),
        ({"loss": "mse"}, ValueError, "loss must be one of 'rho', 'e2'"),
        ({"loss": None}, ValueError, "loss must be one of"),
        ({"nugget": -1.0}, ValueError, "nugget must be finite and not negative"),
        ({"nugget": 0.0}, ValueError, "nugget=0 has no logarithm.*learn_nugget=False"),
        ({"nugget": 1e5}, ValueError, "outside nugget_bounds"),
        ({"learn_nugget": 1}, TypeError, "learn_nugget must be True or False"),
        ({"kernel": FIXED, "learn_nugget": False}, ValueError, "nothing to learn"),
        ({"batch_size": 21}, ValueError, "batch_size=21 exceeds the 20 rows.*batch_size=20"),
        ({"batch_size": 1}, ValueError, "batch_size=1 is too small"),
        ({"batch_size": 5.0}, TypeError, "batch_size must be a whole number"),
        ({"batches": "local"}, ValueError, "batches must be one of .'uniform', 'neighbours'"),
        ({"n_batches": 0}, ValueError, "n_batches must be at least 1"),
        ({"n_halves": 0}, ValueError, "n_halves must be at least 1"),
        ({"n_folds": 1}, ValueError, "n_folds must be at least 2"),
        ({"optimizer": "bfgs"}, ValueError, "optimizer must be one of .'adam', 'sgd'"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        (
            {"optimizer": "lbfgs", "learning_rate": 0.1},
            ValueError,
            "'lbfgs' takes no learning_rate",
        ),
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1"),
        ({"n_restarts": -1}, ValueError, "n_restarts must be at least 0"),
        ({"random_state": "seed"}, TypeError, "random_state"),
        ({"callbacks": print}, TypeError, "callbacks must be a list"),
        ({"callbacks": [1]}, TypeError, "callbacks must be a list"),
        ({"progress": "yes"}, TypeError, "progress must be True or False"),
        ({"n_threads": 0}, ValueError, "n_threads must be a positive whole number"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message, rng):
    good = {"kernel": kernels.Gaussian(), "X": rng.normal(size=(20, 2)), "Y": rng.normal(size=20)}
    with pytest.raises(error, match=message):
        learn_kernel(**{**good, **arguments})


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (1.0, TypeError, "loss must return a number and an array"),
        ((1.0, None), ValueError, r"dLoss / dK of shape \(20, 20\), got \(\)"),
        (("a", np.eye(20)), TypeError, "loss must return a number and an array"),
        ((1.0, np.eye(19)), ValueError, r"dLoss / dK of shape \(20, 20\), got \(19, 19\)"),
    ],
)
def test_what_a_users_loss_must_return(returned, error, message, rng):
    X, Y = waves(20, rng)
    with pytest.raises(error, match=message):
        learn_kernel(kernels.Gaussian(), X, Y, loss=lambda _K, _Y: returned)


def test_a_users_loss_cannot_change_the_matrix(rng):
    X, Y = waves(20, rng)

    def overwrite(K, _):
        K[0, 0] = 7.0

    with pytest.raises(ValueError, match="read-only"):
        learn_kernel(kernels.Gaussian(), X, Y, loss=overwrite)


def test_errors_of_a_users_kernel_pass_through(rng):
    X, Y = waves(20, rng)
    kernel = kernels.FunctionKernel(lambda X, _, c: c * np.ones(len(X)), {"c": 1.0})
    with pytest.raises(ValueError, match=r"must return shape \(20, 20\), got \(20,\)"):
        learn_kernel(kernel, X, Y)


def test_the_package_offers_it():
    assert kflow.learn_kernel is learn_kernel
    assert kflow.LearnedKernel is LearnedKernel
    assert kflow.losses is losses


def test_stochastic_learning_needs_no_scipy(run_python):
    run_python(
        """
        import sys, numpy as np, kflow
        X = np.random.default_rng(0).normal(size=(40, 2))
        for loss in ("rho", "e2", "loo", "kfold", "nlml", "mmd"):
            kflow.learn_kernel(kflow.kernels.Gaussian(), X, X[:, 0], loss=loss, n_steps=3)
        assert "scipy" not in sys.modules
        """
    )


@pytest.mark.parametrize("loss", ["rho", "e2", "loo", "kfold"])
def test_lbfgs_goes_on_where_losses_are_small(loss):
    # Squared errors start far below SciPy's tolerance for a loss, and can fall much further.
    x = np.linspace(0.0, 1.0, 80)[:, None]
    learned = kflow.learn_kernel(
        kernels.Matern32(0.01),
        x,
        1e-6 * np.sin(6.0 * x),
        loss=loss,
        nugget=1e-9,
        learn_nugget=False,
        optimizer="lbfgs",
        random_state=0,
    )
    assert learned.loss < 0.5 * learned.history["loss"][0]
