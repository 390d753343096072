"""Losses that engines compute, and the error for matrices that are singular."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from kflow._base.arguments import as_flag
from kflow._base.array_types import FloatArray, Rows
from kflow.engine import HOST
from kflow.engine.interface import NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.errors import SingularKernelError

__all__ = ["Result", "evaluate", "singular_matrix_error"]

# The value, and the gradient with respect to the kernel matrix if it was asked for.
Result: TypeAlias = "tuple[float, FloatArray | None]"


def singular_matrix_error(error: NotPositiveDefinite, n: int) -> SingularKernelError:
    """Return the error of the package for a matrix of n rows that could not be factorised."""
    first, second = error.args
    if first >= 0:
        reason = f"its points {first} and {second} are the same to the kernel"
        remedy = "remove duplicates, or pass a larger nugget"
    else:
        reason = "its points are too close together for the kernel"
        remedy = "pass a larger nugget, or a kernel with a shorter length scale"
    return SingularKernelError(
        f"the kernel matrix of {n} points is numerically singular: {reason}; {remedy}"
    )


def evaluate(
    name: str,
    k: FloatArray,
    *arguments: FloatArray | Rows | None,
    gradient: bool,
    n_threads: int | None,
) -> Result:
    """Return a loss that engines have, see `Engine.loss`, and its gradient if that is wanted."""
    out = np.empty_like(k) if as_flag(gradient, "gradient") else None
    try:
        return HOST.loss(name, k, arguments, out, resolve_n_threads(n_threads)), out
    except NotPositiveDefinite as error:
        raise singular_matrix_error(error, len(k)) from None
