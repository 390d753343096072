"""Measurements on fitted flows: what they do to the data, and how robust what they learnt is.

Each function takes points and returns a frozen dataclass of arrays. "After n layers", n = 0, are the
points as they were.
"""

from __future__ import annotations

from kflow.analysis.dimension import (
    Dimensions,
    effective_dimension,
    explained_dimension,
    neighbour_dimension,
    participation_ratio,
)
from kflow.analysis.lipschitz import Lipschitz, lipschitz, lipschitz_bound

__all__ = [
    "Dimensions",
    "Lipschitz",
    "effective_dimension",
    "explained_dimension",
    "lipschitz",
    "lipschitz_bound",
    "neighbour_dimension",
    "participation_ratio",
]
