"""Pictures of flows on Matplotlib axes, which need the ``plot`` extra.

The constructor of a display takes the data. Its method ``plot(ax=None)`` draws them, sets the
attributes ``ax_`` (or ``axes_``) and ``figure_`` and those of the lines and other parts, and returns the
display. The class method ``from_estimator`` computes the data from a fitted flow or estimator, and
draws them.
"""

from __future__ import annotations

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "kflow.plotting needs Matplotlib: pip install 'kflow[plot]' (or matplotlib)"
    ) from error

from kflow.plotting.adversarial import AdversarialDisplay
from kflow.plotting.animation import FlowAnimation
from kflow.plotting.convergence import ConvergenceDisplay
from kflow.plotting.dimension import DimensionDisplay
from kflow.plotting.emulator import EmulatorDisplay
from kflow.plotting.forecast import ForecastDisplay
from kflow.plotting.history import ClassDistanceDisplay, ErrorDisplay, LossDisplay
from kflow.plotting.image_grid import ImageGridDisplay
from kflow.plotting.images import ImageStripDisplay
from kflow.plotting.importances import ImportanceDisplay
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
    "EmulatorDisplay",
    "ErrorDisplay",
    "FlowAnimation",
    "ForecastDisplay",
    "ImageGridDisplay",
    "ImageStripDisplay",
    "ImportanceDisplay",
    "LipschitzDisplay",
    "LossDisplay",
    "MarginDisplay",
    "PointsDisplay",
    "SpreadDisplay",
    "VelocityDisplay",
]
