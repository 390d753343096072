"""Jitter: a number added to the diagonal of a kernel matrix that is not positive definite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from kflow._base.warn import warn_user
from kflow.errors import JitterWarning, SingularKernelError

__all__ = ["jitters", "with_jitter"]

T = TypeVar("T")


def jitters(scale: float) -> Iterator[float]:
    """Yield 0, then 1e-12 to 1e-4 times the mean diagonal `scale` in steps of ten.

    A kernel that needs more than the last one is not positive definite.
    """
    yield 0.0
    for exponent in range(-12, -3):
        yield scale * 10.0**exponent


def with_jitter(make: Callable[[float], T], nugget: float, scale: float, n_points: int) -> T:
    """Call `make` with the nugget, or with a larger one where the matrix is singular.

    Parameters
    ----------
    make : callable
        Takes a nugget; raises SingularKernelError if it is too small.
    nugget : float
        The nugget to start from.
    scale : float
        Mean diagonal of the kernel matrix, nugget included.
    n_points : int
        Rows of the matrix, for messages.

    Raises
    ------
    SingularKernelError
        If 1e-4 of the mean diagonal, added to the nugget, does not suffice.

    Warns
    -----
    JitterWarning
        If a larger nugget was needed.
    """
    for jitter in jitters(scale):
        try:
            made = make(nugget + jitter)
        except SingularKernelError as error:
            reason = error
            continue
        if jitter > 0.0:
            warn_user(
                f"the kernel matrix of {n_points} points with nugget={nugget:g} is not positive "
                f"definite, until {jitter:.1e} is added to the nugget: pass a larger nugget or "
                "remove duplicates",
                JitterWarning,
            )
        return made
    raise SingularKernelError(
        f"{reason}; even a nugget of {nugget + jitter:.1e} is too small: pass a kernel that is "
        "positive definite"
    )
