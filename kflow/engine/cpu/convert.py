"""Conversions: the interface's records to those of the compiled core, and the core's errors back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from kflow.engine.cpu import _core
from kflow.engine.interface import (
    Diverged,
    FlowBatch,
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


def core_options(profile: Profile, batch: FlowBatch, options: LayerOptions) -> _core.LayerOptions:
    """Return the options of one layer."""
    return _core.LayerOptions(
        profile=core_profile(profile),
        nugget=options.nugget,
        step=options.step,
        step_size=options.step_size,
        gradient_cap=options.gradient_cap,
        n_coarse=batch.n_coarse,
        n_halves=len(batch.halves) + 1,
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


@contextmanager
def core_errors() -> Iterator[None]:
    """Raise the interface's errors for those of the core."""
    try:
        yield
    except _core.NotPositiveDefinite as error:
        raise NotPositiveDefinite(*error.args) from None
    except _core.Diverged as error:
        raise Diverged(*error.args) from None
