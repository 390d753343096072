"""How robust a classifier is: the smallest perturbations that change its decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_cap, as_choice, as_count, as_generator, as_nugget
from kflow._base.array_types import Doubles, FloatArray, Rows
from kflow._base.short_repr import ShortRepr
from kflow.analysis._classifier import Model, as_model
from kflow.analysis._sample import as_max_points, drawn_rows, json_numbers, known_codes
from kflow.analysis.scores import ScoreFunction
from kflow.layers.moments import mean_squared_distance

__all__ = ["AdversarialDistances", "adversarial_distance"]


# How often a perturbation is halved to find where the class changes, which leaves 2^-10 of it open.
_HALVINGS = 10

# The most points of X among which points of other classes are looked for.
_MAX_POOL = 2000

# Where `predict` finds a perturbed point to be in its class after all, the perturbation is made longer
# by so much, so often at most.
_LONGER, _ATTEMPTS = 1e-3, 5

# A refinement that shortens a perturbation by less than this part is the last one.
_GAIN = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class AdversarialDistances(ShortRepr):
    """Result of `adversarial_distance`.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        The rows of X that are perturbed.
    labels : ndarray, shape (n,)
        The class that is to be given up: the one in `y`, or the predicted one.
    perturbed_labels : ndarray, shape (n,)
        The class predicted for the perturbed point.
    distances : ndarray, shape (n,)
        Lengths of the perturbations. They are 0 for points that are misclassified as they are, and NaN
        where no perturbation was found, as may be if no point of X is predicted to be of another
        class.
    first_order : ndarray, shape (n,)
        The margin over the length of its gradient, the smallest over the candidates, which would be
        the distance if the interpolant were linear. It is 0 for misclassified points, and infinite
        where there is no gradient.
    perturbations : ndarray, shape (n, d)
        The perturbations, which are added to the points; NaN where none was found.
    norms : ndarray, shape (n,)
        Norms of the points, in the same units.
    n_iterations : ndarray of int, shape (n,)
        Number of steps of DeepFool.
    """

    rows: Rows
    labels: npt.NDArray[Any]
    perturbed_labels: npt.NDArray[Any]
    distances: Doubles
    first_order: Doubles
    perturbations: Doubles
    norms: Doubles
    n_iterations: Rows

    def facts(self) -> dict[str, Any]:
        """Return the summary, which is what `repr` shows."""
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Return quantiles of the distances, and how many points have none, as JSON data."""
        found = self.distances[np.isfinite(self.distances)]
        quantiles = np.quantile(found, [0.05, 0.5, 0.95]) if len(found) else [np.nan] * 3
        low, median, high = json_numbers(quantiles)
        return {
            "n_points": len(self.distances),
            "not_found": len(self.distances) - len(found),
            "misclassified": int((self.distances == 0.0).sum()),
            "lowest_20th": low,
            "median": median,
            "highest_20th": high,
            "mean": json_numbers(found.mean() if len(found) else np.nan)[0],
            "first_order_median": json_numbers(np.median(self.first_order))[0],
            "median_norm": json_numbers(np.median(self.norms))[0],
        }


def adversarial_distance(
    classifier: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    space: str | None = None,
    overshoot: float = 0.02,
    max_step: float | None = None,
    max_iterations: int = 50,
    n_candidates: int = 10,
    n_refinements: int = 10,
    max_points: int | None = 100,
    random_state: Any = 0,
) -> AdversarialDistances:
    """Return small perturbations of points that change the class which a classifier predicts.

    Each perturbed point is in fact classified differently, and lies near the boundary of its class:
    the length of the perturbation is an upper bound of the distance to the boundary, and mostly close
    to it.

    Parameters
    ----------
    classifier : KernelFlowClassifier or the result of kflow.make_image_pipeline
        The fitted classifier, or an encoder of images and the classifier behind it.
    X : array_like, shape (N, d)
        Points, unscaled, of several classes; for a pipeline images.
    y : array_like, shape (N,), optional
        Classes of the points, among the classifier's. None: the predicted ones.
    space : {"scaled", "input"}, optional
        What is perturbed: the scaled points, or the points as they are given, such as the pixels of
        images, through all that comes before the flow. None: "input" for a pipeline, which knows no
        other, and "scaled" for a classifier.
    overshoot : float
        The part of a step of DeepFool that is added to it.
    max_step : float, optional
        The longest step of DeepFool, in the units of the perturbed points. None: a quarter of the
        kernel's length scale; for "input" times the ratio of the root mean squared distances of X
        and of the scaled points. Infinity: no limit, as in the original.
    max_iterations : int
        The most steps of DeepFool.
    n_candidates : int
        Number of other classes that DeepFool considers: those with the largest values at each step.
    n_refinements : int
        The most steps along the boundary towards its nearest point.
    max_points : int or None
        Number of rows of X, drawn at random, that are perturbed. None: all.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of these rows.

    Returns
    -------
    AdversarialDistances
        The perturbations and their lengths.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the classifier has not been fitted.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them, or if the layers were not kept.

    Notes
    -----
    With ``space="scaled"`` the scaled points are perturbed, behind the linear map if there is one: with
    ``metric=None`` lengths are those of scaled features. With ``scaling="unit"`` lengths are parts of the
    image's norm, and the perturbed image is not scaled again; with ``"standard"`` they are in standard
    deviations of the features. With ``space="input"`` lengths are those of X, such as units of the
    pixels, and two models of the same images can be compared, whatever each makes of an image. The
    perturbed points are classified by the `predict` of the model at last. Pixels may become negative
    or brighter than white.

    From each point two ways lead to a boundary. One is DeepFool: let u be the interpolant after the
    flow, and j the class for which l_j = (u_y - u_j) / |grad (u_y - u_j)| is smallest; a step has the
    length l_j and goes against the gradient, and steps follow until the class changes. The other way
    is the line to the nearest point of X that is classified differently. On each way bisection finds
    where the class changes. That point then moves along the boundary: for a boundary point x + r with
    the normal w, the point of the tangent plane nearest to x is x + (r.w / |w|^2) w, and a step goes
    there, or a part of the way, if the class changes earlier in that direction. The shorter of the two
    perturbations is returned.

    DeepFool alone is not enough where a flow has collapsed the classes. Away from boundaries the
    interpolant is nearly constant, its gradient says little of the way to the boundary, and long steps
    lead astray. `first_order` is then far too large, too: a flat interpolant is not a robust one.

    Each step of DeepFool costs two replays and at most n_candidates derivatives, and each refinement
    12 replays and a derivative, of the points that are not done. A derivative costs about two replays
    and keeps the positions of all layers, max_points r numbers for each layer. In front of an encoder
    each replay also computes its features, and each derivative pulls back through them.

    References
    ----------
    S.-M. Moosavi-Dezfooli, A. Fawzi and P. Frossard, DeepFool: a simple and accurate method to fool
    deep neural networks, CVPR 2016. W. Brendel et al., Accurate, reliable and fast robustness
    evaluation, NeurIPS 2019, for starting from other classes and following the boundary.
    A. Athalye, N. Carlini and D. Wagner, Obfuscated gradients give a false sense of security, ICML
    2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import kflow
    >>> from kflow.analysis import adversarial_distance
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = kflow.KernelFlowClassifier(metric=None, scaling=None, random_state=0)
    >>> classifier = classifier.fit(X, y)
    >>> found = adversarial_distance(classifier, X, max_points=20)
    >>> fooled = classifier.predict(X[found.rows] + found.perturbations)
    >>> bool((fooled == found.perturbed_labels).all() and (fooled != found.labels).all())
    True
    """
    model = as_model(classifier)
    perturbed = _Perturbed.of(model, X, space)
    options = _Options(
        factor=1.0 + as_nugget(overshoot, "overshoot"),
        max_step=perturbed.longest_step if max_step is None else as_cap(max_step, "max_step"),
        max_iterations=as_count(max_iterations, "max_iterations", 1),
        n_candidates=as_count(n_candidates, "n_candidates", 1),
        n_refinements=as_count(n_refinements, "n_refinements", 0),
    )
    most = as_max_points(max_points)
    points, scores = perturbed.points, perturbed.scores
    codes = None if y is None else known_codes(y, len(points), scores.classes)
    rng = as_generator(random_state)
    rows = drawn_rows(len(points), most, rng)
    pool = points[drawn_rows(len(points), _MAX_POOL, rng)].astype(np.float64)
    x = points[rows].astype(np.float64)
    predicted = scores.predicted(x)
    own = predicted if codes is None else codes[rows]
    best = np.where((predicted == own)[:, None], np.nan, np.zeros_like(x))
    first_order = np.zeros(len(x))
    n_iterations = np.zeros(len(x), np.intp)
    right = np.flatnonzero(predicted == own)
    if len(right):
        best[right], first_order[right], n_iterations[right] = _smallest(
            scores, x[right], own[right], pool, options
        )
    fooled = predicted.copy()
    best[right], fooled[right] = _confirmed(
        perturbed.predict, x[right], best[right], own[right], scores.classes
    )
    return AdversarialDistances(
        rows,
        scores.classes[own],
        scores.classes[fooled],
        np.linalg.norm(best, axis=1),
        first_order,
        best,
        np.linalg.norm(x, axis=1),
        n_iterations,
    )


@dataclass(frozen=True)
class _Options:
    """The options of `adversarial_distance`, checked; `factor` is 1 plus the overshoot."""

    factor: float
    max_step: float
    max_iterations: int
    n_candidates: int
    n_refinements: int


@dataclass(frozen=True, eq=False)
class _Perturbed:
    """Points of the space in which they are perturbed, their scores, and what has the last word.

    `predict` returns the labels of points, and `longest_step` is that of DeepFool by default.
    """

    points: FloatArray
    scores: ScoreFunction
    predict: Callable[[Doubles], npt.NDArray[Any]]
    longest_step: float

    @classmethod
    def of(cls, model: Model, X: npt.ArrayLike, space: str | None) -> _Perturbed:
        """Return the points of a space, in the model's own one if it is None."""
        if space is None:
            space = "scaled" if model.encoder is None else "input"
        as_choice(space, "space", ("scaled", "input"))
        if space == "scaled" and model.encoder is not None:
            raise ValueError(
                'space="scaled" is not for pipelines: pass its estimator, and X as the encoder '
                "transforms it"
            )
        scaled = model.scaled(X)
        scores = ScoreFunction.of_scaled_points(model)
        length = scores.flow.kernel_.length_scale
        assert isinstance(length, float)
        if space == "scaled":
            return cls(scaled, scores, lambda x: scores.classes[scores.predicted(x)], 0.25 * length)
        points = model.rows(X)
        spread = mean_squared_distance(scaled)
        # Of points that are all alike there is no ratio.
        ratio = (mean_squared_distance(points) / spread) ** 0.5 if spread > 0.0 else np.inf
        inputs = ScoreFunction.of_inputs(model)
        return cls(points, inputs, model.predict, 0.25 * length * ratio or np.inf)


def _confirmed(
    predict: Callable[[Doubles], npt.NDArray[Any]],
    x: Doubles,
    r: Doubles,
    own: Rows,
    classes: npt.NDArray[Any],
) -> tuple[Doubles, Rows]:
    """Return perturbations that `predict` is fooled by, and the classes that it takes the points for.

    A perturbation ends next to the boundary, where rounding may decide.
    """
    r, fooled = r.copy(), own.copy()
    left = np.flatnonzero(np.isfinite(r).all(axis=1))
    for _ in range(_ATTEMPTS):
        if not len(left):
            return r, fooled
        fooled[left] = np.searchsorted(classes, predict(x[left] + r[left]))
        left = left[fooled[left] == own[left]]
        r[left] *= 1.0 + _LONGER
    r[left] = np.nan
    return r, fooled


def _smallest(
    scores: ScoreFunction, x: Doubles, own: Rows, pool: Doubles, options: _Options
) -> tuple[Doubles, Doubles, Rows]:
    """Return perturbations of points in their own class, and what `_deepfool` says of its steps."""
    by_steps, first_order, n_iterations = _deepfool(scores, x, own, options)
    straight = _nearest_others(scores, x, own, pool)
    best = np.full_like(x, np.nan)
    for way in (by_steps, straight):
        found = np.flatnonzero(np.isfinite(way).all(axis=1))
        r = _shortened(scores, x[found], way[found], own[found])
        r = _refined(scores, x[found], r, own[found], options.n_refinements)
        shorter = ~(np.linalg.norm(best[found], axis=1) <= np.linalg.norm(r, axis=1))
        best[found] = np.where(shorter[:, None], r, best[found])
    return best, first_order, n_iterations


def _others(values: Doubles, own: Rows, number: int) -> Rows:
    """Return the classes with the largest values, except each point's own, (n, number)."""
    others = values.copy()
    others[np.arange(len(own)), own] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, : min(number, values.shape[1] - 1)]


def _deepfool(
    scores: ScoreFunction, x: Doubles, own: Rows, options: _Options
) -> tuple[Doubles, Doubles, Rows]:
    """Return perturbations by DeepFool, the lengths of the first steps, and the numbers of steps.

    A perturbation is NaN where the class did not change.
    """
    factor = options.factor
    r = np.zeros_like(x)
    first_order = np.empty(len(x))
    n_steps = np.zeros(len(x), np.intp)
    left = np.arange(len(x))
    for iteration in range(options.max_iterations):
        if not len(left):
            break
        step, length = _linear_step(
            scores, x[left] + factor * r[left], own[left], options.n_candidates
        )
        if iteration == 0:
            first_order = length
        n_steps[left] += 1
        # Where there is no gradient, DeepFool cannot go on.
        r[left[~np.isfinite(length)]] = np.nan
        go = np.isfinite(length)
        left, step, length = left[go], step[go], length[go]
        longest = np.minimum(1.0, options.max_step / np.maximum(length, np.finfo(float).tiny))
        r[left] += longest[:, None] * step
        left = left[scores.predicted(x[left] + factor * r[left]) == own[left]]
    r[left] = np.nan
    return factor * r, first_order, n_steps


def _linear_step(
    scores: ScoreFunction, x: Doubles, own: Rows, n_candidates: int
) -> tuple[Doubles, Doubles]:
    """Return the steps to the nearest boundary that linear values would have, and their lengths.

    A length is infinite where there is no gradient.
    """
    near = scores.near(x)
    values, rows = near.values, np.arange(len(x))
    step, shortest = np.zeros_like(x), np.full(len(x), np.inf)
    for other in _others(values, own, n_candidates).T:
        gradient = near.gradient(other, own)
        gap = values[rows, own] - values[rows, other]
        norm = np.linalg.norm(gradient, axis=1)
        slope = np.where(norm > 0.0, norm, 1.0)
        with np.errstate(over="ignore"):
            length = np.where(norm > 0.0, np.maximum(gap, 0.0) / slope, np.inf)
        closer = length < shortest
        shortest[closer] = length[closer]
        step[closer] = (length / slope)[closer, None] * gradient[closer]
    return step, shortest


def _nearest_others(scores: ScoreFunction, x: Doubles, own: Rows, pool: Doubles) -> Doubles:
    """Return the ways from points to the nearest ones of the pool in another class; NaN for none."""
    from sklearn.neighbors import NearestNeighbors

    classes = scores.predicted(pool)
    ways = np.full_like(x, np.nan)
    for code in np.unique(own):
        rows, others = np.flatnonzero(own == code), pool[classes != code]
        if len(others):
            search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others)
            ways[rows] = others[search.kneighbors(x[rows], return_distance=False)[:, 0]] - x[rows]
    return ways


def _shortened(scores: ScoreFunction, x: Doubles, r: Doubles, own: Rows) -> Doubles:
    """Return perturbations cut to where they change the class, which they still do."""
    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        changed = scores.predicted(x + middle[:, None] * r) != own
        low, high = np.where(changed, low, middle), np.where(changed, middle, high)
    return high[:, None] * r


def _refined(
    scores: ScoreFunction, x: Doubles, r: Doubles, own: Rows, n_refinements: int
) -> Doubles:
    """Return perturbations shortened by steps along the boundary of the class."""
    r = r.copy()
    part = np.ones(len(x))
    left = np.arange(len(x))
    for _ in range(n_refinements):
        if not len(left):
            break
        now = r[left]
        near = scores.near(x[left] + now)
        normal = near.gradient(_others(near.values, own[left], 1)[:, 0], own[left])
        square = (normal**2).sum(axis=1)
        along = (now * normal).sum(axis=1)
        foot = (along / np.where(square > 0.0, square, 1.0))[:, None] * normal
        direction = now + part[left, None] * (foot - now)
        length, was = np.linalg.norm(direction, axis=1), np.linalg.norm(now, axis=1)
        sensible = (along > 0.0) & (length > 0.0)
        # A trial is as long as the perturbation is now. If the class changes before its end, there
        # is a shorter one.
        trial = (was / np.where(sensible, length, 1.0))[:, None] * direction
        better = sensible & (scores.predicted(x[left] + trial) != own[left])
        rows = left[better]
        r[rows] = _shortened(scores, x[rows], trial[better], own[rows])
        gain = 1.0 - np.linalg.norm(r[left], axis=1) / np.where(was > 0.0, was, 1.0)
        part[left] = np.where(better, np.minimum(1.5 * part[left], 1.0), 0.5 * part[left])
        left = left[np.where(better, gain > _GAIN, sensible & (part[left] > 0.05))]
    return r
