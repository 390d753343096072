"""Pictures of flows on Matplotlib axes. Needs the ``plot`` extra.

Each display takes its data, has ``plot(ax=None)``, which draws, sets ``ax_`` (or ``axes_``),
``figure_`` and what was drawn, and returns the display, and ``from_estimator``, which computes the
data from a fitted flow or estimator and draws.
"""

from __future__ import annotations

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "kflow.plotting needs Matplotlib: pip install 'kflow[plot]' (or matplotlib)"
    ) from error

from kflow.plotting.adversarial import AdversarialDisplay
from kflow.plotting.convergence import ConvergenceDisplay
from kflow.plotting.dimension import DimensionDisplay
from kflow.plotting.history import ClassDistanceDisplay, ErrorDisplay, LossDisplay
from kflow.plotting.images import ImageStripDisplay
from kflow.plotting.lipschitz import LipschitzDisplay
from kflow.plotting.margins import MarginDisplay
from kflow.plotting.points import PointsDisplay
from kflow.plotting.regions import DecisionRegionDisplay
from kflow.plotting.spread import SpreadDisplay
from kflow.plotting.velocity import VelocityDisplay

__all__ = [
    "AdversarialDisplay",
    "ClassDistanceDisplay",
    "ConvergenceDisplay",
    "DecisionRegionDisplay",
    "DimensionDisplay",
    "ErrorDisplay",
    "ImageStripDisplay",
    "LipschitzDisplay",
    "LossDisplay",
    "MarginDisplay",
    "PointsDisplay",
    "SpreadDisplay",
    "VelocityDisplay",
]
