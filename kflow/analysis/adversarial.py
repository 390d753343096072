"""How robust a classifier is: the smallest perturbations that change its decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_cap, as_count, as_generator, as_nugget
from kflow._base.array_types import Doubles, Rows
from kflow._base.short_repr import ShortRepr
from kflow.analysis._classifier import as_classifier
from kflow.analysis._sample import drawn_rows, json_numbers, known_codes
from kflow.flow.estimator_flow import estimator_flow
from kflow.flow.kernel_flow import KernelFlow
from kflow.layers.replay import Linearization
from kflow.linear.interpolant import Interpolant

__all__ = ["AdversarialDistances", "adversarial_distance"]


# How often a perturbation is halved to find where the class changes, which leaves 2^-10 of it open.
_HALVINGS = 10

# The most points of X among which points of other classes are looked for.
_MAX_POOL = 2000

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
        The perturbations, which are added to the scaled points; NaN where none was found.
    norms : ndarray, shape (n,)
        Norms of the scaled points.
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
    classifier : KernelFlowClassifier
        The fitted classifier.
    X : array_like, shape (N, d)
        Points, unscaled, of several classes.
    y : array_like, shape (N,), optional
        Classes of the points, among the classifier's. None: the predicted ones.
    overshoot : float
        The part of a step of DeepFool that is added to it.
    max_step : float, optional
        The longest step of DeepFool, in the units of the scaled points. None: a quarter of the
        kernel's length scale. Infinity: no limit, as in the original.
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
    The scaled points are perturbed, behind the linear map if there is one: with ``metric=None`` lengths
    are those of scaled features. With ``scaling="unit"`` lengths are parts of the image's norm, and
    the perturbed image is not scaled again; with ``"standard"`` they are in standard deviations of the
    features.

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
    and keeps the positions of all layers, max_points r numbers for each layer.

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
    source = estimator_flow(as_classifier(classifier))
    flow = source.flow
    length = flow.kernel_.length_scale
    assert isinstance(length, float)
    options = _Options(
        factor=1.0 + as_nugget(overshoot, "overshoot"),
        max_step=0.25 * length if max_step is None else as_cap(max_step, "max_step"),
        max_iterations=as_count(max_iterations, "max_iterations", 1),
        n_candidates=as_count(n_candidates, "n_candidates", 1),
        n_refinements=as_count(n_refinements, "n_refinements", 0),
    )
    most = None if max_points is None else as_count(max_points, "max_points", 1)
    scaled = source.scaled(X).astype(flow.dtype, copy=False)
    codes = None if y is None else known_codes(y, len(scaled), classifier.classes_)
    rng = as_generator(random_state)
    rows = drawn_rows(len(scaled), most, rng)
    pool = scaled[drawn_rows(len(scaled), _MAX_POOL, rng)]

    decision = _Decision(flow, classifier.interpolant_)
    x = scaled[rows].astype(np.float64)
    predicted = decision.classes(x)
    own = predicted if codes is None else codes[rows]
    best = np.where((predicted == own)[:, None], np.nan, np.zeros_like(x))
    first_order = np.zeros(len(x))
    n_iterations = np.zeros(len(x), np.intp)
    right = np.flatnonzero(predicted == own)
    if len(right):
        best[right], first_order[right], n_iterations[right] = _smallest(
            decision, x[right], own[right], pool.astype(np.float64), options
        )
    fooled = predicted.copy()
    found = np.flatnonzero(np.isfinite(best).all(axis=1))
    fooled[found] = decision.classes(x[found] + best[found])
    return AdversarialDistances(
        rows,
        classifier.classes_[own],
        classifier.classes_[fooled],
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


@dataclass(frozen=True)
class _Decision:
    """The decision of a flow and an interpolant: the class with the largest value."""

    flow: KernelFlow
    interpolant: Interpolant

    def classes(self, x: Doubles) -> Rows:
        """Return the predicted class of each point."""
        if not len(x):
            return np.zeros(0, np.intp)
        values = self.interpolant(self.flow.transform(x, reduced=True))
        return np.asarray(values.argmax(axis=1), np.intp)

    def near(self, x: Doubles) -> tuple[Linearization, Doubles]:
        """Return the flow near points, and the interpolant's values there."""
        linearization = self.flow.linearize(x)
        return linearization, self.interpolant(linearization.points).astype(np.float64)

    def gradient(self, near: Linearization, own: Rows, other: Rows) -> Doubles:
        """Return the gradient (n, d) of u_other - u_own."""
        rows = np.arange(len(own))
        classes = np.zeros((len(own), self.interpolant.coefficients.shape[1]))
        classes[rows, other] = 1.0
        classes[rows, own] = -1.0
        back = near.pull_back(self.interpolant.pull_back(near.points, classes))
        return back.astype(np.float64)


def _smallest(
    decision: _Decision, x: Doubles, own: Rows, pool: Doubles, options: _Options
) -> tuple[Doubles, Doubles, Rows]:
    """Return perturbations of points in their own class, and what `_deepfool` says of its steps."""
    by_steps, first_order, n_iterations = _deepfool(decision, x, own, options)
    straight = _nearest_others(decision, x, own, pool)
    best = np.full_like(x, np.nan)
    for way in (by_steps, straight):
        found = np.flatnonzero(np.isfinite(way).all(axis=1))
        r = _shortened(decision, x[found], way[found], own[found])
        r = _refined(decision, x[found], r, own[found], options.n_refinements)
        shorter = ~(np.linalg.norm(best[found], axis=1) <= np.linalg.norm(r, axis=1))
        best[found] = np.where(shorter[:, None], r, best[found])
    return best, first_order, n_iterations


def _others(values: Doubles, own: Rows, number: int) -> Rows:
    """Return the classes with the largest values, except each point's own, (n, number)."""
    others = values.copy()
    others[np.arange(len(own)), own] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, : min(number, values.shape[1] - 1)]


def _deepfool(
    decision: _Decision, x: Doubles, own: Rows, options: _Options
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
            decision, x[left] + factor * r[left], own[left], options.n_candidates
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
        left = left[decision.classes(x[left] + factor * r[left]) == own[left]]
    r[left] = np.nan
    return factor * r, first_order, n_steps


def _linear_step(
    decision: _Decision, x: Doubles, own: Rows, n_candidates: int
) -> tuple[Doubles, Doubles]:
    """Return the steps to the nearest boundary that linear values would have, and their lengths.

    A length is infinite where there is no gradient.
    """
    near, values = decision.near(x)
    rows = np.arange(len(x))
    step, shortest = np.zeros_like(x), np.full(len(x), np.inf)
    for other in _others(values, own, n_candidates).T:
        gradient = decision.gradient(near, own, other)
        gap = values[rows, own] - values[rows, other]
        norm = np.linalg.norm(gradient, axis=1)
        slope = np.where(norm > 0.0, norm, 1.0)
        with np.errstate(over="ignore"):
            length = np.where(norm > 0.0, np.maximum(gap, 0.0) / slope, np.inf)
        closer = length < shortest
        shortest[closer] = length[closer]
        step[closer] = (length / slope)[closer, None] * gradient[closer]
    return step, shortest


def _nearest_others(decision: _Decision, x: Doubles, own: Rows, pool: Doubles) -> Doubles:
    """Return the ways from points to the nearest ones of the pool in another class; NaN for none."""
    from sklearn.neighbors import NearestNeighbors

    classes = decision.classes(pool)
    ways = np.full_like(x, np.nan)
    for code in np.unique(own):
        rows, others = np.flatnonzero(own == code), pool[classes != code]
        if len(others):
            search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others)
            ways[rows] = others[search.kneighbors(x[rows], return_distance=False)[:, 0]] - x[rows]
    return ways


def _shortened(decision: _Decision, x: Doubles, r: Doubles, own: Rows) -> Doubles:
    """Return perturbations cut to where they change the class, which they still do."""
    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        changed = decision.classes(x + middle[:, None] * r) != own
        low, high = np.where(changed, low, middle), np.where(changed, middle, high)
    return high[:, None] * r


def _refined(decision: _Decision, x: Doubles, r: Doubles, own: Rows, n_refinements: int) -> Doubles:
    """Return perturbations shortened by steps along the boundary of the class."""
    r = r.copy()
    part = np.ones(len(x))
    left = np.arange(len(x))
    for _ in range(n_refinements):
        if not len(left):
            break
        now = r[left]
        near, values = decision.near(x[left] + now)
        normal = decision.gradient(near, own[left], _others(values, own[left], 1)[:, 0])
        square = (normal**2).sum(axis=1)
        along = (now * normal).sum(axis=1)
        foot = (along / np.where(square > 0.0, square, 1.0))[:, None] * normal
        direction = now + part[left, None] * (foot - now)
        length, was = np.linalg.norm(direction, axis=1), np.linalg.norm(now, axis=1)
        sensible = (along > 0.0) & (length > 0.0)
        # A trial is as long as the perturbation is now. If the class changes before its end, there
        # is a shorter one.
        trial = (was / np.where(sensible, length, 1.0))[:, None] * direction
        better = sensible & (decision.classes(x[left] + trial) != own[left])
        rows = left[better]
        r[rows] = _shortened(decision, x[rows], trial[better], own[rows])
        gain = 1.0 - np.linalg.norm(r[left], axis=1) / np.where(was > 0.0, was, 1.0)
        part[left] = np.where(better, np.minimum(1.5 * part[left], 1.0), 0.5 * part[left])
        left = left[np.where(better, gain > _GAIN, sensible & (part[left] > 0.05))]
    return r
