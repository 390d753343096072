"""Certified radii: balls around points in which a classifier provably predicts one class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator
from kflow._base.array_types import Doubles, Rows
from kflow._base.short_repr import ShortRepr
from kflow.analysis._classifier import Model, as_model
from kflow.analysis._kernel_sum import KernelSum, NearSum, norm_above
from kflow.analysis._profile import SmoothProfile
from kflow.analysis._sample import as_max_points, drawn_rows, json_numbers, known_codes
from kflow.analysis.scores import ScoreFunction
from kflow.engine.threads import single_threaded_blas
from kflow.flow.estimator_flow import estimator_flow

__all__ = ["CertifiedRadii", "certified_radius"]

# The highest order of derivatives that are used.
_HIGHEST = 2

# How often the interval of a radius is halved.
_HALVINGS = 40

# Part of a radius that is given up to the rounding of the formula that it comes from.
_SPARED = 1e-10

# Balls whose radius exceeds so many length scales are not looked at: no margin outlasts them.
_WIDEST = 2.0


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedRadii(ShortRepr):
    """Result of `certified_radius`.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        The rows of X.
    labels : ndarray, shape (n,)
        The class that is certified: the one in `y`, or the predicted one.
    radii : ndarray, shape (n,)
        The certified radii: 0 for points that are misclassified as they are, and where rounding errors
        may decide.
    margins : ndarray, shape (n,)
        The score of the class minus the largest other score.
    norms : ndarray, shape (n,)
        Norms of the points, in the same units as the radii.
    """

    rows: Rows
    labels: npt.NDArray[Any]
    radii: Doubles
    margins: Doubles
    norms: Doubles

    def share(self, radius: npt.ArrayLike) -> Doubles:
        """Return the part of the points with a certified radius above each of the numbers given."""
        wanted = np.asarray(radius, np.float64)
        return np.asarray((self.radii > wanted[..., None]).mean(axis=-1))

    def facts(self) -> dict[str, Any]:
        """Return the summary, which is what `repr` shows."""
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Return quantiles of the radii, and how many are 0, as JSON data."""
        low, median, high = json_numbers(np.quantile(self.radii, [0.05, 0.5, 0.95]))
        return {
            "n_points": len(self.radii),
            "zero": int((self.radii == 0.0).sum()),
            "lowest_20th": low,
            "median": median,
            "highest_20th": high,
            "median_norm": json_numbers(np.median(self.norms))[0],
        }


def certified_radius(
    classifier: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    order: int = 2,
    max_points: int | None = 100,
    random_state: Any = 0,
) -> CertifiedRadii:
    r"""Return radii within which no perturbation changes the class that a classifier predicts.

    A radius is a proof: every point nearer to the scaled point than the radius is predicted to be of
    the same class, rounding errors included. It is a lower bound of the distance to the boundary of
    the class, of which `adversarial_distance` returns an upper bound.

    Parameters
    ----------
    classifier : KernelFlowClassifier
        The fitted classifier. Flows of many layers have small radii: compress them first with
        `kflow.compress`, to one or two layers.
    X : array_like, shape (N, d)
        Points, unscaled.
    y : array_like, shape (N,), optional
        Classes of the points, among the classifier's. None: the predicted ones.
    order : {0, 1, 2}
        Up to which order derivatives at the point are used. 0: the layers' Lipschitz constants,
        which hold everywhere. 1: also the Jacobians of the layers. 2: also the second derivatives,
        which is the tightest.
    max_points : int or None
        Number of rows of X, drawn at random. None: all.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of these rows.

    Returns
    -------
    CertifiedRadii
        The radii, in the units of scaled points as for `adversarial_distance` with
        ``space="scaled"``.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the classifier has not been fitted.
    TypeError
        If the classifier is something else, such as a pipeline; if its kernel is none of Gaussian,
        RationalQuadratic, InverseMultiquadric and Cauchy; or for arguments of the wrong kind.
    ValueError
        For arguments of the wrong shape or values, naming them; if the layers were not kept; or if
        the flow has dropped directions on the way (``shrink_every``).

    Notes
    -----
    Let c_n be the position of the point after n layers, J_n the Jacobian of layer n there,
    L_n = J_{n-1} ... J_0, and g_n the gradient of a margin, the score of the class minus that of another
    one, by c_n. A point of the ball of radius r around c_0 is after n layers at c_n + L_n d + e_n,
    where d is the perturbation. With the remainder of Taylor's theorem, |e_n| <= E_n,

    .. math::

        E_{n+1} = |J_n| E_n + \tfrac{1}{2} B_n R_n^2 + \tfrac{1}{6} \kappa_3 \Lambda_n R_n^3,
        \qquad R_n = |L_n| r + E_n,

    where B_n bounds the second derivative of layer n at c_n in all directions, and the margin is at least

    .. math::

        m - |g_0| r + \tfrac{1}{2} \mu r^2 - \sum_n \left( |H_n| (|L_n| r E_n + \tfrac{1}{2} E_n^2)
        + \tfrac{1}{6} \kappa_3 N_n R_n^3 \right),

    where H_n is the second derivative of g_{n+1} . layer n at c_n, for the last n that of the margin by
    c_n, and mu is the smallest eigenvalue of sum L_n' H_n L_n, which is the second derivative of the
    margin by the point, or 0 if that is smaller. The radius is the largest r for which this is positive
    for all other classes. Order 1 has :math:`\tfrac{1}{2} \kappa_2 \Lambda_n R_n^2` and
    :math:`\tfrac{1}{2} \kappa_2 N_n R_n^2` in the place of second derivatives at c_n and what follows.
    For each class the best order up to the one given counts.

    All remainders are bounded by norms in the kernel's space. A layer K(p, Z) C, in the direction a,
    is a function of the norm N = (a'C'K(Z, Z)C a)^1/2, at most Lambda for unit vectors a, and its
    derivative of order j along any line is at most kappa_j N, where kappa_j^2 = (-1)^j k^(2j)(0). Such
    a bound takes account of coefficients that cancel each other, as a sum over centres does not.

    Rounding errors of the predictions in the classifier's dtype are bounded by the standard model, and
    so are those of this computation in float64. In float32 they cost a tenth of the radius or more, all
    of it where a small nugget makes large coefficients: fit with ``dtype="float64"`` where radii matter.

    With ``scaling="unit"`` radii are parts of the image's norm. A radius s certifies, for an image x
    that is scaled again after it was perturbed, perturbations shorter than |x| s (1 - s^2 / 4)^1/2.
    With a `rank` it holds for perturbations in all directions, as a projection lengthens nothing.

    For each point and layer it costs one product of m k^2 flops for m centres in k coordinates, a singular
    value decomposition of a k x k matrix, and with order 2 as much again for each class that comes into
    question.

    References
    ----------
    M. Hein and M. Andriushchenko, Formal guarantees on the robustness of a classifier against
    adversarial manipulation, NIPS 2017, for margins over local Lipschitz constants of kernel methods;
    S. Singla and S. Feizi, Second-order provable defenses against adversarial attacks, ICML 2020, for
    bounds by curvature; N. J. Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter
    3, for rounding errors.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import kflow
    >>> from kflow.analysis import adversarial_distance, certified_radius
    >>> X, y = load_iris(return_X_y=True)
    >>> kernel = kflow.kernels.Gaussian(2.0)
    >>> classifier = kflow.KernelFlowClassifier(kernel, n_layers=2, metric=None, random_state=0)
    >>> classifier = classifier.set_params(nugget=1.0, interpolation_nugget=1.0).fit(X, y)
    >>> certified = certified_radius(classifier, X, y, max_points=20)
    >>> found = adversarial_distance(classifier, X, y, max_points=20)
    >>> bool((certified.radii <= found.distances).all()), bool(certified.radii.max() > 0.3)
    (True, True)
    """
    model = as_model(classifier)
    if model.encoder is not None:
        raise TypeError(
            "classifier must be a KernelFlowClassifier: pass the pipeline's estimator, and X as its "
            "encoder transforms it"
        )
    if as_count(order, "order", 0) > _HIGHEST:
        raise ValueError(f"order must be 0, 1 or {_HIGHEST}, got {order}")
    most = as_max_points(max_points)
    proof = _Proof.of(model)
    points = model.scaled(X)
    scores = ScoreFunction.of_scaled_points(model)
    codes = None if y is None else known_codes(y, len(points), scores.classes)
    rows = drawn_rows(len(points), most, as_generator(random_state))
    points = points[rows]
    predicted = scores.predicted(points.astype(np.float64))
    own = predicted if codes is None else codes[rows]
    first = next(scores.flow.trajectory(points, [0], reduced=True)).astype(np.float64)
    radii, margins = np.zeros(len(rows)), np.zeros(len(rows))
    with single_threaded_blas:
        for i, p in enumerate(first):
            norm = float(np.linalg.norm(points[i].astype(np.float64)))
            ball = _Ball(proof, p, int(own[i]), proof.start_error(norm, points.shape[1]))
            margins[i] = ball.margins.min()
            if predicted[i] == own[i]:
                radii[i] = ball.radius(order)
    return CertifiedRadii(
        rows, scores.classes[own], radii, margins, np.linalg.norm(points, axis=1).astype(np.float64)
    )


@dataclass(frozen=True, eq=False)
class _Proof:
    """What the proofs of all points share: the layers and the interpolant as sums of kernels."""

    layers: tuple[KernelSum, ...]
    scores: KernelSum
    profile: SmoothProfile

    @classmethod
    def of(cls, model: Model) -> _Proof:
        """Return it for a classifier, after checking that there are bounds for it."""
        flow = estimator_flow(model.classifier).flow
        interpolant = model.classifier.interpolant_
        profile = SmoothProfile.of(flow.kernel_)
        replay = flow.replay()
        if replay.reductions:
            raise ValueError(
                "the flow has dropped directions on the way, and distances from what was dropped have "
                "no second derivatives: compress it with kflow.compress, or fit with shrink_every=0"
            )
        layers = []
        for number in range(flow.n_layers_):
            z, c, _ = replay.scaled_layer(number)
            # The last coordinate of a flow in a subspace, the distance from it, does not move.
            still = z.shape[1] - c.shape[1]
            layers.append(KernelSum.of(z, np.pad(c, ((0, 0), (0, still))), profile))
        return cls(
            tuple(layers),
            KernelSum.of(
                interpolant.centres,
                interpolant.coefficients,
                SmoothProfile.of(interpolant.kernel),
            ),
            profile,
        )

    def start_error(self, norm: float, d: int) -> float:
        """Return by how much the first coordinates of a perturbed point (d,) may be wrong."""
        size = norm + _WIDEST * self.profile.length
        double = np.finfo(np.float64).eps * (d + 8.0) * math.sqrt(self.scores.z.shape[1])
        return float(size * (8.0 * self.scores.unit + double))


class _Ball:
    """The ball around one point, on its way through the layers.

    Parameters
    ----------
    proof : _Proof
        Layers and interpolant.
    p : ndarray, shape (k,)
        The point before the first layer.
    own : int
        The position of its class.
    start_error : float
        By how much rounding may have moved the point.
    """

    def __init__(self, proof: _Proof, p: Doubles, own: int, start_error: float) -> None:
        self._proof, self._start_error = proof, start_error
        self._near: list[NearSum] = []
        chain = np.eye(len(p))
        self._chains, self._jacobians = [chain], list[Doubles]()
        for layer in proof.layers:
            near = layer.near(p)
            jacobian = np.eye(len(p)) + near.jacobian
            chain = jacobian @ chain
            p = p + near.value
            self._near.append(near)
            self._jacobians.append(jacobian)
            self._chains.append(chain)
        self._near.append(proof.scores.near(p))
        values = self._near[-1].value
        self._others = np.delete(np.arange(len(values)), own)
        self._own = own
        self.margins = values[own] - values[self._others]

    def radius(self, order: int) -> float:
        """Return the largest radius for which all margins are proved to be positive."""
        self._jacobian_norms = [norm_above(jacobian) for jacobian in self._jacobians]
        self._chain_norms = [norm_above(chain) for chain in self._chains]
        pairs = [
            _Margin(self._near, self._jacobians, self._own, int(other), float(margin))
            for other, margin in zip(self._others, self.margins, strict=True)
        ]
        radii = [self._order_0(pair) for pair in pairs]
        if order > 0:
            firsts = [self._largest(pair, self._order_1) for pair in pairs]
            radii = [max(both) for both in zip(radii, firsts, strict=True)]
        if order < _HIGHEST:
            return min(radii)
        # Higher orders only raise a radius: classes that are far off need no second derivatives.
        smallest = math.inf
        for i in np.argsort(radii, kind="stable"):
            if radii[i] >= smallest:
                break
            pairs[i].add_second_derivatives(self._chains)
            smallest = min(smallest, max(radii[i], self._largest(pairs[i], self._order_2)))
        return smallest

    def _largest(self, pair: _Margin, lower: Callable[[_Margin, float], float]) -> float:
        """Return the largest radius for which a lower bound of the margin is positive."""
        low, high = 0.0, _WIDEST * self._proof.profile.length
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if lower(pair, middle) > 0.0:
                low = middle
            else:
                high = middle
        return low

    def _reaches(self, r: float, order: int) -> tuple[Doubles, Doubles]:
        """Return how far points may be from the path, R_n, and from its linear part, E_n."""
        first, second, third = (self._proof.profile.norm(j) for j in (1, 2, 3))
        errors = [self._start_error]
        reaches = [r + self._start_error]
        for n, near in enumerate(self._near[:-1]):
            layer, reach = near.function, reaches[-1]
            norm = layer.largest_norm
            bent = 0.5 * second * norm * reach**2
            if order == _HIGHEST:
                bent = min(bent, 0.5 * near.bend * reach**2 + third * norm * reach**3 / 6.0)
            rounded = near.value_error * layer.size + near.addition_error
            wrong = rounded + near.slope_error * layer.size * reach
            errors.append(self._jacobian_norms[n] * errors[-1] + bent + wrong)
            straight = self._chain_norms[n + 1] * r + errors[-1]
            reaches.append(min(straight, (1.0 + first * norm) * reach + rounded))
        return np.array(reaches), np.array(errors)

    def _order_0(self, pair: _Margin) -> float:
        """Return a radius by Lipschitz constants alone: the layers make of r at most a r + b."""
        first = self._proof.profile.norm(1)
        a, b = 1.0, self._start_error
        for near in self._near[:-1]:
            layer = near.function
            stretch = 1.0 + first * layer.largest_norm
            a *= stretch
            b = stretch * b + near.value_error * layer.size + near.addition_error
        left = (pair.margin - float(pair.rounded[-1])) / (first * float(pair.norms[-1]))
        widest = _WIDEST * self._proof.profile.length
        return max((min(left, widest) * (1.0 - _SPARED) - b) / a, 0.0)

    def _order_1(self, pair: _Margin, r: float) -> float:
        reaches, errors = self._reaches(r, 1)
        if not reaches.max() <= _WIDEST * self._proof.profile.length:
            return -math.inf
        bent = 0.5 * self._proof.profile.norm(2) * pair.norms * reaches**2
        lost = pair.rounded + pair.slope_errors * reaches + bent
        return float(pair.margin - pair.slope * (r + errors[0]) - lost.sum())

    def _order_2(self, pair: _Margin, r: float) -> float:
        reaches, errors = self._reaches(r, 2)
        if not reaches.max() <= _WIDEST * self._proof.profile.length:
            return -math.inf
        profile = self._proof.profile
        lost = (
            pair.rounded
            + pair.slope_errors * reaches
            + 0.5 * pair.bend_errors * reaches**2
            + pair.bends * (np.array(self._chain_norms) * r + 0.5 * errors) * errors
            + profile.norm(3) * pair.norms * reaches**3 / 6.0
        )
        slope = pair.slope * (r + errors[0])
        return float(pair.margin - slope - 0.5 * pair.bend * r**2 - lost.sum())


class _Margin:
    """The margin of a class over another one, as a function of where the point is before each layer.

    Attributes
    ----------
    margin : float
        Its value at the point.
    slope : float
        The length of its gradient by the point, |g_0|.
    bend : float
        Minus the smallest eigenvalue of its second derivative by the point, at least 0. Like `bends`
        it is there after `add_second_derivatives`.
    norms : ndarray, shape (n_layers + 1,)
        N_n: norms of g_{n+1} . layer n in the kernel's space, and last that of the margin.
    bends : ndarray, shape (n_layers + 1,)
        Largest absolute eigenvalues of the second derivatives of the same functions, |H_n|.
    rounded, slope_errors, bend_errors : ndarray, shape (n_layers + 1,)
        By how much values, first and second derivatives of these functions may be wrong.
    """

    def __init__(
        self, near: list[NearSum], jacobians: list[Doubles], own: int, other: int, margin: float
    ) -> None:
        self.margin = margin
        scores = near[-1].function
        a = np.zeros(scores.c.shape[1])
        a[own], a[other] = 1.0, -1.0
        self._near, self._directions = near, [a]
        sizes = [float(np.abs(a) @ scores.sizes)]
        norms, values = [scores.norm_of(a)], [near[-1].value_error * sizes[0]]
        g = a @ near[-1].jacobian
        for each, jacobian in zip(reversed(near[:-1]), reversed(jacobians), strict=True):
            length = float(np.linalg.norm(g))
            self._directions.append(g)
            norms.append(each.function.norm_of(g))
            sizes.append(length * each.function.size)
            values.append(each.value_error * sizes[-1] + each.addition_error * length)
            g = g @ jacobian
        self._directions.reverse()
        self.slope = norm_above(g[None])
        self.norms, self.rounded = np.array(norms[::-1]), np.array(values[::-1])
        self.slope_errors = np.array(sizes[::-1]) * [each.slope_error for each in near]
        self.bend_errors = np.array(sizes[::-1]) * [each.bend_error for each in near]

    def add_second_derivatives(self, chains: list[Doubles]) -> None:
        """Compute `bend` and `bends`; the chains are the derivatives of the positions by the point."""
        k = chains[0].shape[1]
        total, size, bends = np.zeros((k, k)), 0.0, []
        for near, a, chain in zip(self._near, self._directions, chains, strict=True):
            hessian = near.hessian(a)
            part = chain.T @ hessian @ chain
            total += part
            size += float(np.linalg.norm(part))
            bends.append(norm_above(hessian))
        smallest = float(np.linalg.eigvalsh(0.5 * (total + total.T))[0])
        self.bend = max(-smallest, 0.0) + 1e-10 * size
        self.bends = np.array(bends) + self.bend_errors
