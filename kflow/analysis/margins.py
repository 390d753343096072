"""Margins of a classifier: how clearly its interpolant decides, and how far classes are apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import common_dtype
from kflow._base.array_types import Doubles, FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.analysis._classifier import as_model, interpolation_points
from kflow.analysis._sample import (
    as_labels,
    json_numbers,
    known_codes,
    near_hits_and_misses,
    quantiles,
)
from kflow.data.arrays import as_matrix
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.layers.moments import mean_squared_distance
from kflow.linear.interpolant import Interpolant

__all__ = ["Margins", "class_margins", "hypothesis_margins"]


@dataclass(frozen=True, eq=False, repr=False)
class Margins(ShortRepr):
    """Result of `class_margins`.

    Attributes
    ----------
    layers : ndarray of int, shape (n_layers,)
        The numbers of layers after which the margins are measured.
    labels : ndarray, shape (n,)
        Classes of the points.
    interpolant : ndarray, shape (n_layers, n)
        The margin u_y(x) - max_{j != y} u_j(x), which is positive where the class y is predicted. NaN
        before the last layer if the training data was not given.
    hypothesis : ndarray, shape (n_layers, n)
        The `hypothesis_margins` of the points F_n(x) among themselves.
    """

    layers: npt.NDArray[np.intp]
    labels: npt.NDArray[Any]
    interpolant: Doubles
    hypothesis: Doubles

    def summary(self) -> dict[str, Any]:
        """Return quantiles of both margins and the negative part, by layers, as JSON data."""
        result: dict[str, Any] = {"layers": self.layers.tolist()}
        for name in ("interpolant", "hypothesis"):
            values: Doubles = getattr(self, name)
            result[f"{name}_lowest_20th"] = quantiles(values, 0.05)
            result[f"{name}_median"] = quantiles(values, 0.5)
            negative = np.where(np.isnan(values), np.nan, values < 0)
            known = np.isfinite(values).sum(axis=1)
            result[f"{name}_negative"] = json_numbers(
                np.where(known > 0, np.nansum(negative, axis=1) / np.maximum(known, 1), np.nan)
            )
        return result


def class_margins(
    classifier: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    layers: Iterable[int] | None = None,
    training: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Margins:
    """Return the margins of points, by the interpolant and by geometry, before and after a flow.

    Parameters
    ----------
    classifier : KernelFlowClassifier or the result of kflow.make_image_pipeline
        The fitted classifier, or an encoder of images and the classifier behind it.
    X : array_like, shape (n, d)
        Points, unscaled; for a pipeline images.
    y : array_like, shape (n,)
        Classes of the points, among the classifier's.
    layers : iterable of int, optional
        The numbers of layers after which margins are measured, in increasing order. None: no layers,
        and all.
    training : (array_like, array_like), optional
        The X and y on which the classifier or the pipeline was fitted. The classifier holds its interpolation points
        as they are after the flow; only with these data can they be taken after fewer layers.

    Returns
    -------
    Margins
        The margins after each number of layers.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the classifier has not been fitted.
    SingularKernelError
        If the kernel matrix of the interpolation points is numerically singular after some layers.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    The points are replayed once. Each entry of `layers` takes 4 n^2 r flops for the near hits and
    misses and, with `training`, m^3 / 3 for m interpolation points.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import kflow
    >>> from kflow.analysis import class_margins
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = kflow.KernelFlowClassifier(n_layers=100, random_state=0).fit(X, y)
    >>> before, after = class_margins(classifier, X, y).hypothesis.mean(axis=1)
    >>> bool(after > before)
    True
    """
    model = as_model(classifier)
    classifier, flow = model.classifier, estimator_flow(model.classifier).flow
    points = model.scaled(X)
    counts = tuple(sorted({0, flow.n_layers_})) if layers is None else as_layers(layers, flow, 2)
    codes = known_codes(y, len(points), classifier.classes_)
    centres: Iterable[FloatArray | None] = [None] * len(counts)
    values = None
    if training is not None:
        try:
            X_training, y_training = training
        except (TypeError, ValueError):
            raise TypeError("training must be a pair (X, y) of arrays") from None
        first, values = interpolation_points(model, X_training, y_training)
        centres = flow.trajectory(first, counts, reduced=True)
    interpolant = np.full((len(counts), len(points)), np.nan)
    hypothesis = np.empty((len(counts), len(points)))
    trajectory = flow.trajectory(points, counts, reduced=True)
    for i, (count, moved, Z) in enumerate(zip(counts, trajectory, centres, strict=True)):
        hypothesis[i] = _hypothesis(moved, codes)
        if count == flow.n_layers_:
            interpolant[i] = _margins(classifier.interpolant_(moved), codes)
        elif Z is not None and values is not None:
            u = Interpolant(
                Z,
                values,
                kernel=flow.kernel_,
                nugget=classifier.interpolant_.nugget,
                sample_weight=classifier.interpolant_.sample_weight,
                n_threads=flow.n_threads,
            )
            interpolant[i] = _margins(u(moved), codes)
    return Margins(np.array(counts, np.intp), np.array(y), interpolant, hypothesis)


def hypothesis_margins(points: npt.ArrayLike, labels: npt.ArrayLike) -> Doubles:
    """Return how far each point may move, at least, before its nearest neighbour is of another class.

    The margin is (|x - near miss| - |x - near hit|) / 2, in units of the root mean squared distance of
    the points. The near hit is the nearest other point of the same class, the near miss the nearest
    point of another class.

    Parameters
    ----------
    points : array_like, shape (n, d)
        The points, one in each row.
    labels : array_like, shape (n,)
        Classes of the points.

    Returns
    -------
    ndarray, shape (n,)
        The margins, negative where the nearest neighbour is of another class. NaN for a point that is alone in
        its class, where there is one class only, and where all points coincide.

    Raises
    ------
    TypeError, ValueError
        For a wrong shape or values.

    Notes
    -----
    The margins do not change with the scale of the points.

    References
    ----------
    K. Crammer, R. Gilad-Bachrach, A. Navot and N. Tishby, Margin analysis of the LVQ algorithm, NIPS
    15 (2002); R. Gilad-Bachrach, A. Navot and N. Tishby, Margin based feature selection, ICML 2004.
    """
    x = as_matrix(points, "points", dtype=common_dtype(points), allow_no_rows=False)
    return _hypothesis(x, as_labels(labels, len(x), "labels")[1])


def _hypothesis(points: FloatArray, codes: npt.NDArray[np.intp]) -> Doubles:
    """Return the hypothesis margins of points with known positions of their classes."""
    scale = np.sqrt(mean_squared_distance(points))
    margins = np.full(len(points), np.nan)
    hits, misses = near_hits_and_misses(points, codes)
    rows = np.flatnonzero((hits >= 0) & (misses >= 0))
    if scale > 0.0:
        x = points[rows].astype(np.float64)
        to_miss = np.linalg.norm(x - points[misses[rows]], axis=1)
        to_hit = np.linalg.norm(x - points[hits[rows]], axis=1)
        margins[rows] = 0.5 * (to_miss - to_hit) / scale
    return margins


def _margins(scores: FloatArray, codes: npt.NDArray[np.intp]) -> Doubles:
    """Return the score of each point's class minus the largest of the others."""
    others = scores.astype(np.float64)
    rows = np.arange(len(scores))
    own = others[rows, codes]
    others[rows, codes] = -np.inf
    return np.asarray(own - others.max(axis=1))
