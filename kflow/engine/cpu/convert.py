"""Conversions: the interface's records to those of the compiled core, and the core's errors back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

import numpy as np

from kflow.engine.cpu import _core
from kflow.engine.interface import (
    Diverged,
    LayerOptions,
    NotPositiveDefinite,
    Profile,
    Term,
)

__all__ = [
    "are_extreme",
    "core_errors",
    "core_expression",
    "core_options",
    "core_profile",
    "is_extreme",
]

# The range of length scales in each dtype.
_LENGTHS = {
    dtype: (4.0 * math.sqrt(np.finfo(dtype).tiny), math.sqrt(np.finfo(dtype).max) / 4.0)
    for dtype in (np.float32, np.float64)
}


@lru_cache(maxsize=64)
def core_profile(profile: Profile, dtype: np.dtype[Any]) -> _core.Profile:
    """Return a profile of the core, for points of a dtype.

    Raises
    ------
    ValueError
        If it is too extreme for that dtype.
    """
    if is_extreme(profile, dtype):
        raise ValueError(
            f"length_scale={profile.length_scale:g} is too extreme for {dtype}, in which its square "
            "is no number: scale X and the length scale, or pass float64"
        )
    return _core.Profile(*profile)


def is_extreme(profile: Profile, dtype: np.dtype[Any]) -> bool:
    """Return whether a length scale's square, or its inverse, is no normal number of a dtype."""
    least, largest = _LENGTHS[dtype.type]
    return not least <= profile.length_scale <= largest


@lru_cache(maxsize=64)
def core_options(
    profile: Profile, dtype: np.dtype[Any], options: LayerOptions, n_coarse: int, n_halves: int
) -> _core.LayerOptions:
    """Return the options of one layer: most layers have those of the layer before."""
    return _core.LayerOptions(
        profile=core_profile(profile, dtype),
        nugget=options.nugget,
        step=options.step,
        step_size=options.step_size,
        gradient_cap=options.gradient_cap,
        n_coarse=n_coarse,
        n_halves=n_halves,
        over_batch=options.over_batch,
    )


def core_expression(terms: Sequence[Term], dtype: np.dtype[Any]) -> _core.Expression:
    """Return the terms of a composite kernel, for points of a dtype."""
    expression = _core.Expression()
    for term in terms:
        operation, factor, given, *numbers = term
        profile = None if given is None else core_profile(given, dtype)
        expression.append(operation, factor, profile, *numbers)
    return expression


def are_extreme(terms: Sequence[Term], dtype: np.dtype[Any]) -> bool:
    """Return whether a term of a composite kernel is too extreme for a dtype."""
    return any(term.profile is not None and is_extreme(term.profile, dtype) for term in terms)


class _CoreErrors:
    """A context that raises the interface's errors for those of the core; entering it costs nothing."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise the interface's error for an error of the core."""
        if isinstance(error, _core.NotPositiveDefinite):
            raise NotPositiveDefinite(*error.args) from None
        if isinstance(error, _core.Diverged):
            raise Diverged(*error.args) from None


core_errors = _CoreErrors()
