"""Class scores as functions of points: their values, and their derivatives by the points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray, Rows
from kflow._base.short_repr import ShortRepr
from kflow.analysis._classifier import Model, as_model
from kflow.data.arrays import as_matrix
from kflow.flow.estimator_flow import estimator_flow
from kflow.flow.kernel_flow import KernelFlow
from kflow.linear.interpolant import Interpolant

__all__ = ["ClassScores", "ScoreFunction", "linearize"]


@dataclass(frozen=True, eq=False, repr=False)
class ClassScores(ShortRepr):
    """Class scores near some points: their values and their derivative, which is never formed as a matrix.

    `linearize` makes such objects.

    Attributes
    ----------
    classes : ndarray, shape (n_classes,)
        The classes, in the order of the scores.
    values : ndarray, shape (n, n_classes)
        The scores: the interpolant's values, of which the largest decides.
    """

    classes: npt.NDArray[Any]
    values: Doubles
    _pull_back: Callable[[FloatArray], FloatArray] = field(repr=False)

    def pull_back(self, A: npt.ArrayLike) -> Doubles:
        """Return the gradients of a_i . scores(x_i) with respect to x_i.

        Parameters
        ----------
        A : array_like, shape (n, n_classes) or (n_classes,)
            Factors of the scores of each point, or of all points, such as 1 for one class and -1 for
            another.

        Returns
        -------
        ndarray, shape (n, d)
            The gradients, with respect to the pixels if the points are images.

        Raises
        ------
        TypeError, ValueError
            If the shape or the values are wrong.
        """
        n, n_classes = self.values.shape
        if np.ndim(A) == 1:
            a = as_matrix([A], "A", dtype=np.float64, n_columns=n_classes).repeat(n, axis=0)
        else:
            a = as_matrix(A, "A", dtype=np.float64, n_rows=n, n_columns=n_classes)
        return self._pull_back(a).astype(np.float64)

    def gradient(self, plus: Rows, minus: Rows) -> Doubles:
        """Return the gradients (n, d) of the score of one class minus that of another.

        Parameters
        ----------
        plus, minus : ndarray of int, shape (n,)
            For each point the positions of both among the classes.
        """
        rows = np.arange(len(self.values))
        a = np.zeros_like(self.values)
        a[rows, plus] += 1.0
        a[rows, minus] -= 1.0
        return self.pull_back(a)


@dataclass(frozen=True, eq=False)
class _Step:
    """A map of points, and the product of covectors with its transposed derivative."""

    forward: Callable[[Any], Any]
    pull_back: Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class ScoreFunction:
    """The class scores of a classifier as a function of points: through steps, flow and interpolant.

    Attributes
    ----------
    classes : ndarray
        The classes.
    steps : tuple
        Maps of points before the flow; none for points that are scaled already.
    flow : KernelFlow
        The flow.
    interpolant : Interpolant
        The interpolant of one-hot labels.
    """

    classes: npt.NDArray[Any]
    steps: tuple[_Step, ...]
    flow: KernelFlow
    interpolant: Interpolant

    @classmethod
    def of_scaled_points(cls, model: Model) -> ScoreFunction:
        """Return the scores as a function of the points that the flow moves."""
        classifier = model.classifier
        flow = estimator_flow(classifier).flow
        return cls(classifier.classes_, (), flow, classifier.interpolant_)

    @classmethod
    def of_inputs(cls, model: Model) -> ScoreFunction:
        """Return the scores as a function of what the model takes, as rows of float64."""
        scaled = cls.of_scaled_points(model)
        scaling = estimator_flow(model.classifier).scaling
        steps = [] if model.encoder is None else [model.encoder]
        return cls(
            scaled.classes,
            (
                *(_Step(encoder.transform, encoder.pull_back) for encoder in steps),
                _Step(scaling, scaling.pull_back),
            ),
            scaled.flow,
            scaled.interpolant,
        )

    def predicted(self, x: Doubles) -> Rows:
        """Return the position of the class with the largest score, (n,), for points (n, d)."""
        if not len(x):
            return np.zeros(0, np.intp)
        points: FloatArray = x
        for step in self.steps:
            points = step.forward(points)
        values = self.interpolant(self.flow.transform(points, reduced=True))
        return np.asarray(values.argmax(axis=1), np.intp)

    def near(self, x: Doubles) -> ClassScores:
        """Return the scores near points (n, d)."""
        points: FloatArray = x
        before = []
        for step in self.steps:
            before.append(points)
            points = step.forward(points)
        moved = self.flow.linearize(points)
        values = self.interpolant(moved.points)

        def pull_back(a: FloatArray) -> FloatArray:
            back = moved.pull_back(self.interpolant.pull_back(moved.points, a))
            for step, at in zip(reversed(self.steps), reversed(before), strict=True):
                back = step.pull_back(at, back)
            return back

        return ClassScores(self.classes, values.astype(np.float64), pull_back)


def linearize(classifier: Any, X: npt.ArrayLike) -> ClassScores:
    """Return the class scores of points, with the derivative of the scores by the points.

    The scores are functions of the points as they are given: the derivative goes back through the
    interpolant, all layers of the flow and the scaling and, for a pipeline of images, through the
    encoder down to the pixels.

    Parameters
    ----------
    classifier : KernelFlowClassifier or the result of kflow.make_image_pipeline
        The fitted classifier, or an encoder of images and the classifier behind it.
    X : array_like, shape (n, d)
        Points, unscaled; for a pipeline images.

    Returns
    -------
    ClassScores
        The scores, and what pulls back derivatives.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the classifier has not been fitted.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    It costs a replay of the points, and each `pull_back` about two. The positions of the points before
    each layer are kept. Derivatives have the precision of the flow, and of float32 through an encoder.

    Examples
    --------
    The gradient of what makes a three a three, by the pixels of an image:

    >>> import kflow
    >>> from kflow.analysis import linearize
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> encoder = kflow.features.ImageEncoder(J=1, n_components=30)
    >>> flow = kflow.KernelFlowClassifier(**kflow.presets.FIXED, random_state=0)
    >>> model = kflow.make_image_pipeline(flow, encoder=encoder)
    >>> model = model.fit(digits.images[:500], digits.target[:500])
    >>> scores = linearize(model, digits.images[3:4])
    >>> int(scores.classes[scores.values.argmax()])
    3
    >>> scores.pull_back(scores.classes == 3).reshape(8, 8).shape
    (8, 8)
    """
    model = as_model(classifier)
    return ScoreFunction.of_inputs(model).near(model.rows(X).astype(np.float64))
