"""Descent on a lattice of two integers: few evaluations where a grid takes many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Place", "descend"]

Place: TypeAlias = tuple[int, int]

_STRAIGHT = ((0, -1), (0, 1), (-1, 0), (1, 0))
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def descend(error: Callable[[Place], float], start: Place, limits: tuple[range, range]) -> Place:
    """Go from place to place until no neighbour is better.

    Parameters
    ----------
    error : callable
        What is to be small, as a function of two integers. Each place is asked for once.
    start : tuple of int
        Where to begin, within the limits.
    limits : tuple of range
        The values of both integers.

    Returns
    -------
    tuple of int
        A place with no better place among its eight neighbours. NaN counts as infinity.
    """
    known: dict[Place, float] = {}

    def at(place: Place) -> float:
        if not all(number in within for number, within in zip(place, limits, strict=True)):
            return float("inf")
        if place not in known:
            value = error(place)
            known[place] = value if value == value else float("inf")
        return known[place]

    here = start
    while True:
        # The corners cost four more evaluations: they are looked at where the sides do not help.
        for steps in (_STRAIGHT, _DIAGONAL):
            around = [(here[0] + di, here[1] + dj) for di, dj in steps]
            best = min(around, key=at)
            if at(best) < at(here):
                here = best
                break
        else:
            return here
