"""The components of an emulator: their kernels are learned, and their posteriors made, one after another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.arguments import as_choice, as_count
from kflow._base.array_types import Doubles, Rows
from kflow.emulator.component_kernel import PROFILES, component_kernel
from kflow.emulator.posterior import HeldOut, Posterior, by_inducing_points, given_all_rows
from kflow.errors import BoundsWarning, JitterWarning
from kflow.kernels import Kernel
from kflow.learning import LearnedKernel, learn_kernel
from kflow.losses import LOSSES

__all__ = ["Learning", "RowsOf", "fitted_components", "split_rows"]

# The nugget that learning starts from, and its bounds: models mostly are deterministic.
_NUGGET, _NUGGETS = 1e-4, (1e-8, 1e2)

# Rows held out of a posterior by inducing points: a part of all, and at most so many.
_HELD, _MAX_HELD = 0.1, 1000


@dataclass(frozen=True)
class Learning:
    """How the kernel of a component is learned: see `kflow.Emulator`."""

    kernel: str
    loss: str
    batch_size: int
    n_batches: int
    n_steps: int
    seed: int
    n_threads: int | None

    @classmethod
    def of(cls, emulator: Any, seed: int) -> Learning:
        """Return the options of an emulator.

        Raises
        ------
        TypeError, ValueError
            If one of them is wrong, naming it.
        """
        return cls(
            as_choice(emulator.kernel, "kernel", ("auto", *PROFILES)),
            as_choice(emulator.loss, "loss", tuple(LOSSES)),
            as_count(emulator.batch_size, "batch_size", 2),
            as_count(emulator.n_batches, "n_batches", 1),
            as_count(emulator.n_steps, "n_steps", 1),
            seed,
            emulator.n_threads,
        )

    def learned(self, U: Doubles, z: Doubles) -> LearnedKernel:
        """Return the kernel of the smallest loss, for scaled inputs (N, d) and scores (N,)."""
        names = tuple(PROFILES) if self.kernel == "auto" else (self.kernel,)
        # Losses of cross-validation cannot tell the amplitude of the whole kernel from the nugget.
        starts = [
            component_kernel(name, U.shape[1], learn_amplitude=self.loss == "nlml")
            for name in names
        ]
        # The same seed, and so the same batches: losses can be compared.
        return min((self._from(start, U, z) for start in starts), key=lambda one: one.loss)

    def _from(self, start: Kernel, U: Doubles, z: Doubles) -> LearnedKernel:
        with warnings.catch_warnings():
            # Length scales of inputs without an effect grow up to their bounds, and the nugget of a
            # model without noise falls to its own: what the posterior needs is added there.
            warnings.simplefilter("ignore", BoundsWarning)
            warnings.simplefilter("ignore", JitterWarning)
            batch_size = min(self.batch_size, len(U))
            return learn_kernel(
                start,
                U,
                z,
                loss=self.loss,
                nugget=_NUGGET,
                nugget_bounds=_NUGGETS,
                batch_size=batch_size,
                batches="neighbours",
                n_batches=self.n_batches,
                n_halves=4,
                n_folds=min(5, batch_size),
                optimizer="lbfgs",
                n_steps=self.n_steps,
                random_state=self.seed,
                n_threads=self.n_threads,
            )


@dataclass(frozen=True)
class RowsOf:
    """What rows are for.

    Attributes
    ----------
    points : ndarray of int, shape (M,)
        Those that predictions are made of.
    held : ndarray of int, shape (n,)
        Those at which errors are measured.
    are_all : bool
        Whether both are all rows: then each is predicted from the others.
    """

    points: Rows
    held: Rows
    are_all: bool


def split_rows(n: int, n_inducing: int, rng: np.random.Generator) -> RowsOf:
    """Draw inducing points and rows to be held out of `n` rows; all rows if there are no more."""
    everything = np.arange(n, dtype=np.intp)
    if n <= n_inducing:
        return RowsOf(everything, everything, True)
    order = rng.permutation(n).astype(np.intp)
    n_held = min(max(1, round(_HELD * n)), _MAX_HELD)
    n_inducing = min(n_inducing, n - n_held)
    return RowsOf(np.sort(order[:n_inducing]), np.sort(order[n - n_held :]), False)


def fitted_components(
    U: Doubles,
    Z: Doubles,
    learning: Learning,
    rows: RowsOf,
    weights: Doubles,
    least: float,
) -> tuple[list[Posterior], list[HeldOut]]:
    """Return the posteriors of components, and their predictions of the rows held out.

    Parameters
    ----------
    U : ndarray, shape (N, d)
        Scaled inputs.
    Z : ndarray, shape (N, q)
        Scores.
    learning : Learning
        How kernels are learned.
    rows : RowsOf
        What rows are for.
    weights : ndarray, shape (q,)
        The variance of the outputs along each component.
    least : float
        No further component follows when the variance of those that are missing is at most this part
        of the squared errors of the others. With 0 there are all.
    """
    posteriors: list[Posterior] = []
    predictions: list[HeldOut] = []
    error = 0.0
    for number, z in enumerate(Z.T):
        posterior, predicted = _fitted(U, np.ascontiguousarray(z), learning, rows)
        posteriors.append(posterior)
        predictions.append(predicted)
        error += weights[number] * float(np.mean(np.square(predicted.errors)))
        if weights[number + 1 :].sum() < least * error:
            break
    return posteriors, predictions


def _fitted(U: Doubles, z: Doubles, learning: Learning, rows: RowsOf) -> tuple[Posterior, HeldOut]:
    learned = learning.learned(U, z)
    kernel, nugget, n_threads = learned.kernel, learned.nugget, learning.n_threads
    if rows.are_all:
        return given_all_rows(kernel, nugget, U, z, n_threads)
    return by_inducing_points(kernel, nugget, U, z, rows.points, rows.held, n_threads)
