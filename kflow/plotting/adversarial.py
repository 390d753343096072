"""Distributions of adversarial distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kflow._base.short_repr import ShortRepr
from kflow.plotting.axes import axes_of, log_scale, plain_number
from kflow.plotting.cumulative import draw_cumulative
from kflow.plotting.inputs import as_samples

__all__ = ["AdversarialDisplay"]


class AdversarialDisplay(ShortRepr):
    """Distributions of distances to the nearest point that gets another class.

    Parameters
    ----------
    distances : mapping of str to array_like
        Distances by name, not negative. A distance is infinite or NaN if no such point was found.
    xlabel : str
        Name of the distance.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the drawing.
    lines_ : list of matplotlib.lines.Line2D
        For each sample, the part of the points with at most that distance.
    """

    ax_: Axes
    figure_: Any
    lines_: list[Line2D]

    def __init__(
        self, distances: Mapping[str, npt.ArrayLike], *, xlabel: str = "adversarial distance"
    ) -> None:
        self.distances = as_samples(distances, "distances", nan=True)
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        training: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        ax: Axes | None = None,
        log: bool = False,
        **options: Any,
    ) -> AdversarialDisplay:
        """Compute `kflow.analysis.adversarial_distance`, and draw.

        Parameters
        ----------
        estimator : KernelFlowClassifier or the result of kflow.make_image_pipeline
            A fitted classifier, or an encoder of images and the classifier behind it.
        X : array_like, shape (n, d)
            The points, one in each row; for a pipeline images.
        y : array_like, shape (n,), optional
            Classes of these points; the predicted ones if not given.
        training : pair of array_like, optional
            The X and y of the fit. With them, the distances of the same classifier without layers,
            `kflow.analysis.unflowed`, are drawn as well.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        log : bool
            Whether the axis of values is logarithmic where it can be, as in `plot`.
        **options
            Further options of `kflow.analysis.adversarial_distance`.

        Returns
        -------
        AdversarialDisplay
        """
        from kflow.analysis import adversarial_distance, unflowed
        from kflow.estimators.classifier import KernelFlowClassifier
        from kflow.estimators.image_pipeline import ImagePipeline

        is_pipeline = isinstance(estimator, ImagePipeline)
        if not is_pipeline and not isinstance(estimator, KernelFlowClassifier):
            raise TypeError(
                f"estimator must be a KernelFlowClassifier, got {type(estimator).__name__}: a flow "
                "alone predicts no classes"
            )
        before = [] if training is None else [unflowed(estimator, *training)]
        distances = {}
        for each in (*before, estimator):
            n = (each.estimator if is_pipeline else each).flow_.n_layers_
            distances[f"n = {n}"] = adversarial_distance(each, X, y, **options).distances
        is_input = is_pipeline or options.get("space") == "input"
        of = "in the units of X" if is_input else "of scaled points"
        return cls(distances, xlabel=f"adversarial distance, {of}").plot(ax, log=log)

    def plot(self, ax: Axes | None = None, *, log: bool = False) -> AdversarialDisplay:
        """Draw the data on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; new axes if not given.
        log : bool
            Make the axis of distances logarithmic, if none is zero.

        Returns
        -------
        AdversarialDisplay
            The display itself.
        """
        self.ax_ = axes_of(ax, self.xlabel, "part of the points")
        self.figure_ = self.ax_.figure
        self.lines_ = draw_cumulative(self.ax_, self.distances)
        every = np.concatenate(list(self.distances.values()))
        if log and log_scale(self.ax_, every, "x"):
            self.ax_.xaxis.set_major_formatter(plain_number)
        else:
            self.ax_.set_xlim(left=0.0)
        self.ax_.legend(frameon=False)
        return self
