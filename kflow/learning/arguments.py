"""The arguments of `learn_kernel`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from kflow import losses
from kflow._base.arguments import as_choice, as_count, as_functions, as_positive
from kflow._base.array_types import FloatArray
from kflow.learning.objective import LossFunction
from kflow.learning.optimizers import RULES
from kflow.learning.run import Callback
from kflow.losses import Loss

__all__ = ["OPTIMIZERS", "as_batch_size", "as_callbacks", "as_loss", "as_rate"]

OPTIMIZERS = (*RULES, "lbfgs")

_BATCH_SIZE = 200


def as_loss(loss: Any, n_threads: int) -> tuple[LossFunction, Loss | None]:
    """Return a loss as a function, and its row in the table; None for a user's function."""
    if not callable(loss):
        known = losses.get_loss(loss)
        return partial(known.function, n_threads=n_threads), known

    def checked(K: FloatArray, Y: FloatArray) -> tuple[float, FloatArray]:
        shown = K.view()
        shown.flags.writeable = False  # it may have to be tried again with a jitter
        returned = loss(shown, Y)
        try:
            value, G = returned
            value, G = float(value), np.asarray(G, np.float64, order="C")
        except (TypeError, ValueError):
            raise TypeError("loss must return a number and an array, dLoss / dK") from None
        if G.shape != K.shape:
            raise ValueError(f"loss must return dLoss / dK of shape {K.shape}, got {G.shape}")
        return value, 0.5 * (G + G.T)  # K is symmetric: only the symmetric part counts

    return checked, None


def as_batch_size(value: Any, n: int, loss: Loss | None, n_folds: int) -> int:
    """Return the batch size, which must suit the n rows of the data and the loss."""
    smallest = 2 if loss is None else loss.smallest_batch(n_folds)
    fewer = " or a smaller n_folds" if loss is not None and "folds" in loss.subsets else ""
    if n < smallest:
        raise ValueError(
            f"X has {n} row{'s' if n > 1 else ''}, fewer than the {smallest} that learning needs: "
            f"pass more{fewer}"
        )
    if value is None:
        return min(n, _BATCH_SIZE)
    size = as_count(value, "batch_size", 1)
    if size > n:
        raise ValueError(
            f"batch_size={size} exceeds the {n} rows of X: pass batch_size={n} or less"
        )
    if size < smallest:
        raise ValueError(
            f"batch_size={size} is too small for this loss: pass {smallest} or more{fewer}"
        )
    return size


def as_rate(learning_rate: Any, optimizer: Any) -> float:
    """Return the learning rate of a known optimizer; 0 if it has none."""
    as_choice(optimizer, "optimizer", OPTIMIZERS)
    if optimizer not in RULES:
        if learning_rate is not None:
            raise ValueError(f"optimizer={optimizer!r} takes no learning_rate: leave it out")
        return 0.0
    if learning_rate is None:
        return RULES[optimizer].default_rate
    return as_positive(learning_rate, "learning_rate")


def as_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Return callbacks, which must be functions in a list."""
    return as_functions(callbacks, "callbacks", "a LearningState")
