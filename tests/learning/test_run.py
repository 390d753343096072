from __future__ import annotations

import signal

import numpy as np
import pytest

from kflow import kernels, learn_kernel, losses
from kflow.learning import LearningState

OPTIMIZERS = ["adam", "sgd", "nesterov", "lbfgs"]
LOSSES = list(losses.LOSSES)


def waves(n, rng, d=2):
    X = rng.uniform(-1.0, 1.0, size=(n, d))
    return X, np.sin(4.0 * X[:, 0]) + 0.05 * rng.normal(size=n)


def assert_equal_results(first, second):
    assert first.kernel == second.kernel
    assert (first.nugget, first.loss, first.best_step) == (
        second.nugget,
        second.loss,
        second.best_step,
    )
    for name, values in first.history.items():
        np.testing.assert_array_equal(values, second.history[name])


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
