"""How much each feature of a table counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from kflow._base.arguments import as_count
from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of
from kflow.plotting.colours import PALETTE
from kflow.plotting.inputs import as_series

__all__ = ["ImportanceDisplay"]


class ImportanceDisplay(ShortRepr):
    """Importances of features as bars, the largest on top.

    Parameters
    ----------
    importances : array_like, shape (d,)
        The importance of each feature.
    names : sequence of str, optional
        Names of the features; by default ``x0``, ``x1`` and so on.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    bars_ : matplotlib.container.BarContainer
        The bars, from the most important feature on.
    """

    ax_: Axes
    figure_: Any
    bars_: BarContainer

    def __init__(self, importances: npt.ArrayLike, names: Sequence[str] | None = None) -> None:
        self.importances = as_series(importances, "importances")
        d = len(self.importances)
        self.names = [f"x{k}" for k in range(d)] if names is None else [str(name) for name in names]
        if len(self.names) != d:
            raise ValueError(f"names must have {d} entries, got {len(self.names)}")

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, most: int = 20, ax: Axes | None = None
    ) -> ImportanceDisplay:
        """Draw the importances of a fitted estimator.

        Parameters
        ----------
        estimator : KernelFlowClassifier, KernelFlowRegressor, GradientMetric or other estimator
            It has ``feature_importances_``, and ``feature_names_in_`` if the features have names.
        most : int
            Largest number of bars.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.

        Raises
        ------
        AttributeError
            If the estimator has no importances.
        """
        names = getattr(estimator, "feature_names_in_", None)
        return cls(estimator.feature_importances_, names).plot(ax, most=most)

    def plot(
        self, ax: Axes | None = None, *, most: int = 20, xlabel: str = "importance"
    ) -> ImportanceDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        most : int
            Largest number of bars: the least important features are left out.
        xlabel : str
            Name of the importances.

        Returns
        -------
        ImportanceDisplay
            The display itself.
        """
        shown = np.argsort(-self.importances, kind="stable")[: as_count(most, "most", 1)]
        self.ax_ = axes_of(ax, xlabel, "", size=(5.2, 0.8 + 0.28 * len(shown)))
        self.figure_ = self.ax_.figure
        places = np.arange(len(shown))
        self.bars_ = self.ax_.barh(places, self.importances[shown], color=PALETTE[0])
        self.ax_.set_yticks(places, [self.names[k] for k in shown])
        self.ax_.invert_yaxis()
        return self
