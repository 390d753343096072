"""Measurements on fitted flows: what they do to the data, and how robust what they learned is.

Most functions take points and return a frozen dataclass of arrays, one entry for each number of
layers. After 0 layers the points are as they were before the flow.
"""

from __future__ import annotations

from kflow.analysis.adversarial import AdversarialDistances, adversarial_distance
from kflow.analysis.certificates import CertifiedRadii, certified_radius
from kflow.analysis.dimension import (
    Dimensions,
    effective_dimension,
    explained_dimension,
    neighbour_dimension,
    participation_ratio,
)
from kflow.analysis.lipschitz import Lipschitz, lipschitz, lipschitz_bound
from kflow.analysis.margins import Margins, class_margins, hypothesis_margins
from kflow.analysis.regions import crossed_regions, points_on_segments
from kflow.analysis.scores import ClassScores, linearize
from kflow.analysis.singular_values import SingularValues, singular_values
from kflow.analysis.tangents import TangentDimensions, tangent_dimension
from kflow.analysis.unflowed import unflowed

__all__ = [
    "AdversarialDistances",
    "CertifiedRadii",
    "ClassScores",
    "Dimensions",
    "Lipschitz",
    "Margins",
    "SingularValues",
    "TangentDimensions",
    "adversarial_distance",
    "certified_radius",
    "class_margins",
    "crossed_regions",
    "effective_dimension",
    "explained_dimension",
    "hypothesis_margins",
    "linearize",
    "lipschitz",
    "lipschitz_bound",
    "neighbour_dimension",
    "participation_ratio",
    "points_on_segments",
    "singular_values",
    "tangent_dimension",
    "unflowed",
]
