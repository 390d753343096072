"""Priors on the parameters of a kernel, added to the loss by which it is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kflow._base.arguments import as_positive, shown
from kflow.kernels import Kernel
from kflow.learning.objective import Vector

__all__ = ["Priors"]


class Priors:
    """Independent log-normal priors on some of the parameters of a kernel and on the nugget.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    learn_nugget : bool
        Whether the nugget is learned as well.
    priors : mapping of str to (float, float), or None
        The median of a parameter, and the standard deviation of its logarithm, by names.

    Raises
    ------
    TypeError, ValueError
        If a name is that of no learned parameter, or what belongs to it is no pair of positive numbers.
    """

    def __init__(
        self, kernel: Kernel, learn_nugget: bool, priors: Mapping[str, Any] | None
    ) -> None:
        names = [*kernel.parameter_names, *(["nugget"] if learn_nugget else [])]
        self._means, self._precisions = np.zeros(len(names)), np.zeros(len(names))
        if priors is None:
            return
        if not isinstance(priors, Mapping):
            raise TypeError(
                f"priors must be a mapping from names to (median, spread), got {shown(priors)}"
            )
        for name, pair in priors.items():
            median, spread = _as_pair(pair, name)
            rows = [i for i, full in enumerate(names) if _is_named(full, name)]
            if not rows:
                raise ValueError(
                    f"priors: no learned parameter is named {name!r}; there are {names}"
                )
            self._means[rows], self._precisions[rows] = math.log(median), spread**-2

    def __call__(self, z: Vector) -> tuple[float, Vector]:
        """Return the negative log density at logarithms z, up to a constant, and its gradient."""
        gradient = self._precisions * (z - self._means)
        return 0.5 * float(gradient @ (z - self._means)), gradient


def _as_pair(pair: Any, name: str) -> tuple[float, float]:
    try:
        median, spread = pair
    except (TypeError, ValueError):
        raise TypeError(f"priors[{name!r}] must be (median, spread), got {shown(pair)}") from None
    return as_positive(median, f"priors[{name!r}][0]"), as_positive(spread, f"priors[{name!r}][1]")


def _is_named(full: str, name: str) -> bool:
    """Return whether a parameter has a name, in full or without its part and its number."""
    last = full.rpartition("__")[2]
    return name in (full, full.partition("[")[0], last, last.partition("[")[0])
