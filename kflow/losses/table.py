"""The table of losses: all that the rest of the package knows about each of them.

A new loss is a function in a file beside this one, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.losses.cross_validation import kfold, loo
from kflow.losses.discrepancy import mmd
from kflow.losses.divergence_rate import lyapunov
from kflow.losses.evaluate import Result
from kflow.losses.halving import rho
from kflow.losses.likelihood import nlml
from kflow.losses.prediction import e2

__all__ = ["LOSSES", "Loss", "e2", "get_loss", "kfold", "loo", "lyapunov", "mmd", "nlml", "rho"]


def _no_unit(Y: FloatArray) -> float:
    """Return 1, the unit of losses that do not depend on the scale of the targets."""
    del Y
    return 1.0


def _sum_of_squares(Y: FloatArray) -> float:
    """Return the sum of the squared targets, or 1 if all of them are 0."""
    return float(np.square(Y).sum()) or 1.0


def _number_of_targets(Y: FloatArray) -> float:
    return float(Y.size)


@dataclass(frozen=True)
class Loss:
    """A loss, the arguments that it takes, and what it needs of a batch.

    Attributes
    ----------
    function : callable
        ``function(K, Y, *subsets, gradient=True, n_threads=None) -> (value, gradient)``.
    subsets : tuple of str
        Which subsets of the batch the function takes, in order: "halves", "pairs", "folds".
    lowest_coarse : int
        Smallest number of rows in a half.
    uses_targets : bool
        Whether the loss depends on the targets.
    unit : callable
        ``unit(Y)`` returns a number, for targets (n, m), by which losses of different batches become
        comparable: the loss divided by it hardly depends on the size of the batch and of the targets.
    """

    function: Callable[..., Result]
    subsets: tuple[str, ...] = ()
    lowest_coarse: int = 1
    uses_targets: bool = True
    unit: Callable[[FloatArray], float] = _no_unit

    def smallest_batch(self, n_folds: int) -> int:
        """Return the smallest number of rows that a batch can have.

        Parameters
        ----------
        n_folds : int
            Number of folds, for losses that take folds.
        """
        if "folds" in self.subsets:
            return n_folds
        # A half is size // 2 rows, and a pair is two rows outside it.
        return max(2 * self.lowest_coarse, 3 if "pairs" in self.subsets else 2)


LOSSES: dict[str, Loss] = {
    "rho": Loss(rho, ("halves",)),
    "e2": Loss(e2, ("halves",), unit=_sum_of_squares),
    "loo": Loss(loo, unit=_sum_of_squares),
    "kfold": Loss(kfold, ("folds",), unit=_sum_of_squares),
    "nlml": Loss(nlml, unit=_number_of_targets),
    "mmd": Loss(mmd, ("halves",), lowest_coarse=2, uses_targets=False),
    "lyapunov": Loss(lyapunov, ("halves", "pairs")),
}


def get_loss(name: str) -> Loss:
    """Look a loss up.

    Parameters
    ----------
    name : str
        A key of ``LOSSES``, the dict of all losses.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If there is no loss of that name; the message names all.
    """
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {name!r}")
    return LOSSES[name]
