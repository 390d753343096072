"""Conversions: the interface's records to those of the compiled core, and the core's errors back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType

from kflow.engine.cpu import _core
from kflow.engine.interface import (
    Diverged,
    LayerOptions,
    NotPositiveDefinite,
    Profile,
    Term,
)

__all__ = ["core_errors", "core_expression", "core_options", "core_profile"]


@lru_cache(maxsize=64)
def core_profile(profile: Profile) -> _core.Profile:
    """Return a profile of the core."""
    return _core.Profile(*profile)


@lru_cache(maxsize=64)
def core_options(
    profile: Profile, options: LayerOptions, n_coarse: int, n_halves: int
) -> _core.LayerOptions:
    """Return the options of one layer: most layers have those of the layer before."""
    return _core.LayerOptions(
        profile=core_profile(profile),
        nugget=options.nugget,
        step=options.step,
        step_size=options.step_size,
        gradient_cap=options.gradient_cap,
        n_coarse=n_coarse,
        n_halves=n_halves,
        over_batch=options.over_batch,
    )


def core_expression(terms: Sequence[Term]) -> _core.Expression:
    """Return the terms of a composite kernel."""
    expression = _core.Expression()
    for term in terms:
        operation, factor, given, *numbers = term
        profile = None if given is None else core_profile(given)
        expression.append(operation, factor, profile, *numbers)
    return expression


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
