from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import kflow
from kflow import kernels, learn_kernel, losses
from kflow.errors import (
    BoundsWarning,
    LearningWarning,
)
from kflow.learning import LearnedKernel

OPTIMIZERS = ["adam", "sgd", "nesterov", "lbfgs"]
LOSSES = list(losses.LOSSES)
FIXED = kernels.Gaussian(1.0, length_scale_bounds="fixed")


def waves(n, rng, d=2):
    X = rng.uniform(-1.0, 1.0, size=(n, d))
    return X, np.sin(4.0 * X[:, 0]) + 0.05 * rng.normal(size=n)


def test_targets_of_zeros_teach_nothing(rng):
    X = rng.normal(size=(20, 2))
    for loss in LOSSES:
        if loss != "mmd":  # sees no targets
            with pytest.raises(ValueError, match="Y is zero everywhere"):
                learn_kernel(kernels.Gaussian(), X, np.zeros(20), loss=loss)
    learn_kernel(kernels.Gaussian(), X, np.zeros(20), loss="mmd", n_steps=2)
    learn_kernel(FIXED, X, np.zeros(20), loss=lambda K, _: (K.sum(), np.ones_like(K)), n_steps=2)


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


@pytest.mark.slow
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
