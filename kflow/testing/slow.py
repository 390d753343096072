"""The engine once more, slow and obvious, in NumPy: what the tests and benchmarks compare with.

Everything follows the definitions, with explicit solves, and shares nothing with the compiled core
but the descriptions of the kernels. Computed in float64, or in longdouble where an argument is.
Formulas: H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
J. Comp. Phys. 389 (2019), 22-47; the kernels as in `kflow.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from kflow.kernels import (
    Cauchy,
    Constant,
    FunctionKernel,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplacian,
    Linear,
    Matern32,
    Matern52,
    Periodic,
    Polynomial,
    Product,
    Radial,
    RationalQuadratic,
    Scaled,
    Sum,
    Wendland,
    check_isotropic,
)

__all__ = [
    "FlowResult",
    "LayerResult",
    "class_distance_ratio",
    "directions_needed",
    "draw",
    "flow",
    "gram",
    "kernel_slope",
    "kernel_value",
    "layer",
    "leave_one_out",
    "loss_e2",
    "loss_kfold",
    "loss_lyapunov",
    "loss_mmd",
    "loss_nlml",
    "loss_rho",
    "move",
    "rho",
    "rho_gradient",
    "solve",
    "step_length",
    "subspace",
    "symmetric_gradient",
]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.intp]
T = TypeVar("T")


def _as_working(*values: npt.ArrayLike) -> list[FloatArray]:
    """Return the arrays in longdouble if one of them is, else in float64."""
    arrays = [np.asarray(value) for value in values]
    longest = any(array.dtype == np.longdouble for array in arrays)
    return [array.astype(np.longdouble if longest else np.float64) for array in arrays]


def solve(A: npt.ArrayLike, B: npt.ArrayLike) -> FloatArray:
    """Return A^-1 B for a symmetric positive definite A, by Gaussian elimination.

    Parameters
    ----------
    A : array_like, shape (n, n)
        The matrix.
    B : array_like, shape (n, q)
        Right-hand sides.

    Returns
    -------
    ndarray, shape (n, q)
    """
    a, b = _as_working(A, B)
    if a.dtype == np.float64:
        return np.asarray(np.linalg.solve(a, b))
    n = len(a)
    for i in range(n):
        factors = a[i + 1 :, i : i + 1] / a[i, i]
        a[i + 1 :] -= factors * a[i]
        b[i + 1 :] -= factors * b[i]
    for i in reversed(range(n)):
        b[i] = (b[i] - a[i, i + 1 :] @ b[i + 1 :]) / a[i, i]
    return b


def _squared_distances(X: FloatArray, Z: FloatArray) -> FloatArray:
    """Return |x_i - z_j|^2, shape (n, m), summed over differences: nothing cancels."""
    r2 = np.zeros((len(X), len(Z)), X.dtype)
    for k in range(X.shape[1]):
        r2 += (X[:, k, None] - Z[None, :, k]) ** 2
    return r2


def kernel_value(kernel: Kernel, r2: npt.ArrayLike) -> FloatArray:
    """Return k(r) from the squared distance.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        The kernel; formulas in `kflow.kernels`.
    r2 : array_like
        Squared distances r^2, of any shape.

    Returns
    -------
    ndarray, the shape of `r2`
    """
    (squares,) = _as_working(r2)
    length = squares.dtype.type(check_isotropic(kernel).length_scale)  # type: ignore[arg-type]
    return _profile(check_isotropic(kernel), squares, length)


def _profile(kernel: Radial, squares: FloatArray, length: Any) -> FloatArray:
    """Return k(r) from r^2, with another length scale than the kernel's."""
    r = np.sqrt(squares)
    if isinstance(kernel, Gaussian):
        return np.asarray(np.exp(-squares / (2 * length**2)))
    if isinstance(kernel, Laplacian):
        return np.asarray(np.exp(-r / length))
    if isinstance(kernel, Matern32):
        h = np.sqrt(squares.dtype.type(3)) * r / length
        return np.asarray((1 + h) * np.exp(-h))
    if isinstance(kernel, Matern52):
        h = np.sqrt(squares.dtype.type(5)) * r / length
        return np.asarray((1 + h + h**2 / 3) * np.exp(-h))
    if isinstance(kernel, RationalQuadratic):
        alpha = squares.dtype.type(kernel.alpha)
        # (1 + x)^-alpha, where 1 + x would round to 1 for a large alpha.
        return np.asarray(np.exp(-alpha * np.log1p(squares / (2 * alpha * length**2))))
    if isinstance(kernel, InverseMultiquadric):
        return np.asarray(1 / np.sqrt(1 + squares / length**2))
    if isinstance(kernel, Cauchy):
        return np.asarray(1 / (1 + squares / length**2))
    if isinstance(kernel, Wendland):
        h, q = r / length, kernel.dimension // 2 + 2
        return np.where(h < 1, (1 - h) ** (q + 1) * ((q + 1) * h + 1), 0)
    raise TypeError(f"no reference for {kernel!r}")


def kernel_slope(kernel: Kernel, r2: npt.ArrayLike) -> FloatArray:
    """Return the slope dk/d(r^2); for the Laplacian, which has none at r = 0, zero there.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        The kernel.
    r2 : array_like
        Squared distances r^2, of any shape.

    Returns
    -------
    ndarray, the shape of `r2`
        Each formula is that of `kernel_value`, differentiated by hand.
    """
    (squares,) = _as_working(r2)
    length = squares.dtype.type(check_isotropic(kernel).length_scale)  # type: ignore[arg-type]
    value = kernel_value(kernel, squares)
    r = np.sqrt(squares)
    if isinstance(kernel, Gaussian):
        return np.asarray(-value / (2 * length**2))
    if isinstance(kernel, Laplacian):
        apart = np.where(r > 0, r, 1)
        return np.where(r > 0, -value / (2 * length * apart), 0)
    if isinstance(kernel, Matern32):
        h = np.sqrt(squares.dtype.type(3)) * r / length
        return np.asarray(-3 * np.exp(-h) / (2 * length**2))
    if isinstance(kernel, Matern52):
        h = np.sqrt(squares.dtype.type(5)) * r / length
        return np.asarray(-5 * (1 + h) * np.exp(-h) / (6 * length**2))
    if isinstance(kernel, RationalQuadratic):
        alpha = squares.dtype.type(kernel.alpha)
        base = 1 + squares / (2 * alpha * length**2)
        return np.asarray(-value / base / (2 * length**2))
    if isinstance(kernel, InverseMultiquadric):
        return np.asarray(-(value**3) / (2 * length**2))
    if isinstance(kernel, Cauchy):
        return np.asarray(-(value**2) / length**2)
    if isinstance(kernel, Wendland):
        h, q = r / length, kernel.dimension // 2 + 2
        return np.where(h < 1, -((1 - h) ** q) * (q + 1) * (q + 2) / (2 * length**2), 0)
    raise TypeError(f"no reference for {kernel!r}")


def gram(X: npt.ArrayLike, Z: npt.ArrayLike | None = None, *, kernel: Kernel) -> FloatArray:
    """Return K(X, Z), shape (n, m).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    Z : array_like, shape (m, d), optional
        Other points; X itself if not given.
    kernel : kflow.kernels.Kernel
        The kernel.
    """
    x, z = _as_working(X, X if Z is None else Z)
    return _matrix(kernel, x, z)


def _matrix(kernel: Kernel, x: FloatArray, z: FloatArray) -> FloatArray:
    """Return K(x, z) of any kernel, part by part."""
    real = x.dtype.type
    if isinstance(kernel, (Sum, Product)):
        parts = np.stack([_matrix(part, x, z) for part in kernel.kernels])
        return np.asarray(parts.sum(axis=0) if isinstance(kernel, Sum) else parts.prod(axis=0))
    if isinstance(kernel, Scaled):
        return real(kernel.amplitude) * _matrix(kernel.kernel, x, z)
    if isinstance(kernel, Constant):
        return np.full((len(x), len(z)), kernel.value, x.dtype)
    if isinstance(kernel, FunctionKernel):
        return np.asarray(kernel.function(x, z, **kernel.parameters))
    if isinstance(kernel, Radial) and not isinstance(kernel.length_scale, tuple):
        return kernel_value(kernel, _squared_distances(x, z))
    assert isinstance(kernel, (Radial, Linear, Periodic))
    length = np.asarray(kernel.length_scale, x.dtype)
    if isinstance(kernel, Radial):
        return _profile(kernel, _squared_distances(x / length, z / length), real(1))
    if isinstance(kernel, Periodic):
        angles = np.pi * (x[:, None] - z[None]) / np.asarray(kernel.period, x.dtype)
        return np.asarray(np.exp(-2 * ((np.sin(angles) / length) ** 2).sum(axis=2)))
    products = np.asarray((x / length) @ (z / length).T)
    if isinstance(kernel, Polynomial):
        return np.asarray((products + real(kernel.offset)) ** kernel.degree)
    return products


def _quadratic_form(A: FloatArray, Y: FloatArray) -> tuple[float, FloatArray]:
    """Return tr(Y' A^-1 Y) and A^-1 Y."""
    solution = solve(A, Y)
    return (Y * solution).sum(), solution


def _columns(Y: npt.ArrayLike) -> FloatArray:
    targets = np.asarray(Y)
    return targets[:, None] if targets.ndim == 1 else targets


def rho(
    X: npt.ArrayLike, Y: npt.ArrayLike, coarse: npt.ArrayLike, *, kernel: Kernel, nugget: float
) -> float:
    """Return 1 - tr(Y_c' A_cc^-1 Y_c) / tr(Y' A^-1 Y), A = K(X, X) + nugget I.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    Y : array_like, shape (n, m) or (n,)
        Targets.
    coarse : array_like of int, shape (n_c,)
        The rows c.
    kernel : kflow.kernels.Kernel
        The kernel.
    nugget : float
        Added to the diagonal.
    """
    return rho_gradient(X, Y, coarse, kernel=kernel, nugget=nugget)[0]


def rho_gradient(
    X: npt.ArrayLike, Y: npt.ArrayLike, coarse: npt.ArrayLike, *, kernel: Kernel, nugget: float
) -> tuple[float, FloatArray]:
    """Return `rho` and its gradient with respect to the points.

    Parameters
    ----------
    X, Y, coarse, kernel, nugget
        As for `rho`.

    Returns
    -------
    rho : float
    gradient : ndarray, shape (n, d)
        The quotient rule on rho = 1 - P / Q with P = tr(Y_c' A_cc^-1 Y_c), Q = tr(Y' A^-1 Y) and
        d tr(Y' A^-1 Y) = -tr(w' dK w), w = A^-1 Y; one point after the other.
    """
    x, y = _as_working(X, _columns(Y))
    c = np.asarray(coarse)
    r2 = _squared_distances(x, x)
    matrix = kernel_value(kernel, r2) + nugget * np.eye(len(x))
    slope = kernel_slope(kernel, r2)
    fine_form, fine = _quadratic_form(matrix, y)
    coarse_form, solution = _quadratic_form(matrix[np.ix_(c, c)], y[c])
    padded = np.zeros_like(y)
    padded[c] = solution
    if fine_form == 0:
        return 0.0, np.zeros_like(x)

    gradient = np.empty_like(x)
    for i in range(len(x)):
        # Row i of K and its column i move; entry i itself stays 1.
        row = 2 * slope[i, :, None] * (x[i] - x)
        d_fine = -2 * (fine @ fine[i]) @ row
        d_coarse = -2 * (padded @ padded[i]) @ row
        gradient[i] = -(d_coarse * fine_form - coarse_form * d_fine) / fine_form**2
    return 1 - coarse_form / fine_form, gradient


def move(
    X: npt.ArrayLike, Z: npt.ArrayLike, C: npt.ArrayLike, *, kernel: Kernel, step: float = 1.0
) -> FloatArray:
    """Return X with step K(X, Z) C added to its first q columns, shape (n, d).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points to move.
    Z, C : array_like, shape (m, d) and (m, q), q <= d
        Centres and coefficients.
    kernel : kflow.kernels.Kernel
        The kernel.
    step : float
        Step.
    """
    x, z, c = _as_working(X, Z, C)
    x[:, : c.shape[1]] += step * (gram(x, z, kernel=kernel) @ c)
    return x


def step_length(rule: str, size: float, X: npt.ArrayLike, G: npt.ArrayLike) -> float:
    """Return the factor that a step rule puts before the displacement.

    Parameters
    ----------
    rule : {"relative", "rms", "absolute", "fixed"}
        The rules of `kflow.KernelFlow`.
    size : float
        p.
    X, G : array_like, shape (N, d) and (N, q)
        Training points and their displacements before scaling. A point at the origin, or one that
        does not move, has no say in the relative rule.
    """
    x, g = _as_working(X, G)
    norms, moves = np.sqrt((x**2).sum(axis=1)), np.sqrt((g**2).sum(axis=1))
    if not moves.any():
        return 0.0
    if rule == "relative":
        both = (norms > 0) & (moves > 0)
        return float(size * (norms[both] / moves[both]).min()) if both.any() else 0.0
    if rule == "rms":
        return float(size * np.sqrt((norms**2).mean() / (moves**2).mean()))
    if rule == "absolute":
        return float(size / moves.max())
    if rule == "fixed":
        return size
    raise ValueError(f"no reference for step={rule!r}")


def class_distance_ratio(X: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean squared distance within classes over that between classes.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    labels : array_like, shape (n,)
        Their classes.
    """
    (x,) = _as_working(X)
    classes = np.asarray(labels)
    within: list[Any] = []
    between: list[Any] = []
    for i in range(len(x)):
        for j in range(i):
            pairs = within if classes[i] == classes[j] else between
            pairs.append(((x[i] - x[j]) ** 2).sum())
    return float(np.mean(within) / np.mean(between)) if within and between else float("nan")


def draw(
    rng: np.random.Generator, n: int, batch_size: int, coarse_fraction: float, n_halves: int
) -> tuple[IntArray, IntArray]:
    """Draw a batch and its coarse subsets as `kflow.KernelFlow` does.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    n, batch_size, coarse_fraction, n_halves
        Number of points, and the flow's settings.

    Returns
    -------
    batch : ndarray, shape (batch_size,)
        Rows of the training points.
    subsets : ndarray, shape (n_halves, n_coarse)
        Positions in the batch: the first ones and the last ones of its order, then of further
        random orders.
    """
    n_coarse = min(max(round(coarse_fraction * batch_size), 1), batch_size - 1)
    batch = rng.choice(n, batch_size, replace=False)
    order = np.arange(batch_size)
    subsets = [order[:n_coarse]]
    while len(subsets) < n_halves:
        subsets.append(order[batch_size - n_coarse :])
        if len(subsets) < n_halves:
            order = rng.permutation(batch_size)
            subsets.append(order[:n_coarse])
    return batch.astype(np.intp), np.array(subsets, np.intp)


@dataclass(frozen=True)
class LayerResult:
    """What one layer did.

    Attributes
    ----------
    points : ndarray, shape (N, d)
        Training points after the layer.
    follow : dict of ndarray
        The other points after the layer.
    rho, step : float
        The loss before the layer, and the step.
    Z, C : ndarray, shape (N_f, d) and (N_f, n_moving)
        Centres and coefficients: the layer adds step K(x, Z) C to the coordinates that move.
    """

    points: FloatArray
    follow: dict[str, FloatArray]
    rho: float
    step: float
    Z: FloatArray
    C: FloatArray


def layer(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    batch: npt.ArrayLike,
    subsets: npt.ArrayLike,
    *,
    kernel: Kernel,
    nugget: float,
    step: str,
    step_size: float,
    follow: Mapping[str, npt.ArrayLike] | None = None,
    n_moving: int | None = None,
    gradient_cap: float | None = None,
) -> LayerResult:
    """Run one layer of the flow: x + step K(x, Z) A^-1 (-d rho / dZ) for every point x.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Training points.
    Y : array_like, shape (N, m) or (N,)
        Targets.
    batch : array_like of int, shape (N_f,)
        Rows of X that make Z.
    subsets : array_like of int, shape (n_halves, n_coarse)
        Positions in the batch of the coarse points; rho and its gradient are averaged over rows.
    kernel : kflow.kernels.Kernel
        The kernel.
    nugget : float
        Added to the diagonal.
    step, step_size
        Step rule and its size, see `step_length`.
    follow : mapping of str to array_like (n_i, d), optional
        Other points to move.
    n_moving : int, optional
        Only the first coordinates move, so many.
    gradient_cap : float, optional
        Longest row of the gradient, in medians of their lengths.
    """
    points, targets = _as_working(X, _columns(Y))
    rows = np.asarray(batch)
    z = points[rows]
    losses, gradients = zip(
        *(
            rho_gradient(z, targets[rows], subset, kernel=kernel, nugget=nugget)
            for subset in np.asarray(subsets)
        ),
        strict=True,
    )
    matrix = gram(z, kernel=kernel) + nugget * np.eye(len(z))
    gradient = (sum(gradients) / len(gradients))[:, :n_moving]
    if gradient_cap is not None:
        lengths = np.linalg.norm(gradient, axis=1, keepdims=True)
        limit = gradient_cap * np.sort(lengths, axis=None)[len(lengths) // 2]
        gradient = np.where(lengths > limit, gradient * limit / lengths, gradient)
    c = solve(matrix, -gradient)
    displacement = gram(points, z, kernel=kernel) @ c
    length = step_length(step, step_size, points, displacement)
    return LayerResult(
        points=move(points, z, c, kernel=kernel, step=length),
        follow={
            name: move(other, z, c, kernel=kernel, step=length)
            for name, other in (follow or {}).items()
        },
        rho=sum(losses) / len(losses),
        step=length,
        Z=z,
        C=c,
    )


@dataclass(frozen=True)
class FlowResult:
    """What a flow of several layers did.

    Attributes
    ----------
    points : ndarray, shape (N, d)
        Training points after the last layer.
    follow : dict of ndarray
        The other points after the last layer.
    rho, step, class_distance_ratio, rank : ndarray, shape (n_layers,)
        Of each layer; the third is NaN without labels.
    layers : list of (Z, step C)
        Of each layer, in its coordinates.
    reduced_points : ndarray, shape (N, rank + 1)
        Training points after the last layer in its coordinates; without a rank `points`.
    """

    points: FloatArray
    follow: dict[str, FloatArray]
    rho: FloatArray
    step: FloatArray
    class_distance_ratio: FloatArray
    rank: FloatArray
    layers: list[tuple[FloatArray, FloatArray]]
    reduced_points: FloatArray


@dataclass
class _Carried:
    """Points in coordinates: inside + rest, and the distances h from the basis's span."""

    coordinates: FloatArray  # (n, r)
    h: FloatArray  # (n,)
    basis: FloatArray  # (d, r)
    rest: FloatArray  # (n, d): what does not move

    @classmethod
    def start(cls, X: FloatArray, basis: FloatArray, keep_rest: bool) -> _Carried:
        inside = X @ basis
        rest = X - inside @ basis.T
        h = np.sqrt((rest**2).sum(axis=1))
        return cls(inside, h, basis, rest if keep_rest else np.zeros_like(rest))

    def drop(self, kept: FloatArray, dropped: FloatArray) -> None:
        """Go on in the directions `kept`, orthonormal columns in today's coordinates."""
        lost = self.coordinates @ dropped
        self.h = np.sqrt(self.h**2 + (lost**2).sum(axis=1))
        self.rest = self.rest + lost @ (self.basis @ dropped).T
        self.coordinates, self.basis = self.coordinates @ kept, self.basis @ kept

    def reduced(self) -> FloatArray:
        return np.hstack([self.coordinates, self.h[:, None]])

    def restored(self) -> FloatArray:
        return np.asarray(self.coordinates @ self.basis.T + self.rest)


def subspace(X: npt.ArrayLike, rank: int) -> FloatArray:
    """Return the leading right singular vectors of X, shape (d, rank)."""
    vectors = np.linalg.svd(np.asarray(X, np.float64), full_matrices=False)[2]
    return np.asarray(vectors[:rank].T)


def directions_needed(X: npt.ArrayLike, others: npt.ArrayLike, tolerance: float) -> int:
    """Return the fewest leading singular directions of X that a shrinking flow keeps.

    Twice the energy dropped for each point is at most `tolerance` times the mean squared distance.

    Parameters
    ----------
    X : array_like, shape (N, r)
        The coordinates that move.
    others : array_like, shape (N,)
        The one that does not; it counts in distances.
    tolerance : float
        Part of the mean squared distance.
    """
    x = np.asarray(X, np.float64)
    points = np.column_stack([x, others])
    r2 = _squared_distances(points, points)
    msd = r2.sum() / (len(x) * (len(x) - 1))
    energies = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    kept = 1
    while 2 * energies[kept:].sum() > tolerance * msd:
        kept += 1
    return kept


def _at(setting: T | Callable[[int], T], number: int) -> T:
    return setting(number) if callable(setting) else setting


def flow(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    kernel: Kernel,
    n_layers: int,
    batch_size: int,
    rng: np.random.Generator,
    coarse_fraction: float = 0.5,
    nugget: float | Callable[[int], float] = 0.01,
    step: str | Callable[[int], str] = "relative",
    step_size: float | Callable[[int], float] = 0.1,
    n_halves: int = 1,
    labels: npt.ArrayLike | None = None,
    follow: Mapping[str, npt.ArrayLike] | None = None,
    rank: int | None = None,
    shrink_every: int = 0,
    shrink_tolerance: float = 1e-4,
    gradient_cap: float | None = None,
) -> FlowResult:
    """Run a flow; the same generator gives the batches of `kflow.KernelFlow`.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Training points.
    Y : array_like, shape (N, m) or (N,)
        Targets.
    kernel, n_layers, batch_size, coarse_fraction, nugget, step, step_size, n_halves
        As for `kflow.KernelFlow`; schedules as functions of the layer.
    rng : numpy.random.Generator
        Source of the batches.
    labels : array_like, shape (N,), optional
        Classes, for `class_distance_ratio`.
    follow : mapping of str to array_like (n_i, d), optional
        Other points to move. What lies outside the subspace of a rank stays with them.
    rank : int, optional
        Run in so many leading directions of X.
    shrink_every, shrink_tolerance, gradient_cap
        As for `kflow.KernelFlow`.
    """
    (points,) = _as_working(X)
    followed = {name: _as_working(other)[0] for name, other in (follow or {}).items()}
    basis = np.eye(points.shape[1]) if rank is None else subspace(points, rank)
    training = _Carried.start(points, basis, keep_rest=False)
    others = {name: _Carried.start(other, basis, True) for name, other in followed.items()}
    losses, steps, ratios, ranks, layers = [], [], [], [], []
    for number in range(n_layers):
        if shrink_every and number and number % shrink_every == 0:
            needed = directions_needed(training.coordinates, training.h, shrink_tolerance)
            vectors = np.linalg.svd(training.coordinates)[2].T
            for carried in (training, *others.values()):
                carried.drop(vectors[:, :needed], vectors[:, needed:])
        batch, subsets = draw(rng, len(points), batch_size, coarse_fraction, n_halves)
        n_moving = training.coordinates.shape[1]
        result = layer(
            training.reduced(),
            Y,
            batch,
            subsets,
            kernel=kernel,
            nugget=_at(nugget, number),
            step=_at(step, number),
            step_size=_at(step_size, number),
            follow={name: carried.reduced() for name, carried in others.items()},
            n_moving=n_moving,
            gradient_cap=gradient_cap,
        )
        training.coordinates = result.points[:, :-1]
        for name, carried in others.items():
            carried.coordinates = result.follow[name][:, :-1]
        losses.append(result.rho)
        steps.append(result.step)
        ratios.append(
            float("nan")
            if labels is None
            else class_distance_ratio(result.Z, np.asarray(labels)[batch])
        )
        ranks.append(n_moving)
        z = result.Z[:, :-1] if rank is None else result.Z
        layers.append((z, result.step * result.C))
    return FlowResult(
        points=training.restored(),
        follow={name: carried.restored() for name, carried in others.items()},
        rho=np.array(losses, np.float64),
        step=np.array(steps, np.float64),
        class_distance_ratio=np.array(ratios, np.float64),
        rank=np.array(ranks, np.float64),
        layers=layers,
        reduced_points=training.restored() if rank is None else training.reduced(),
    )


# ---- losses of a kernel matrix; each half, fold or pair by itself ------------------------------


def _each_half(halves: npt.ArrayLike, loss: Callable[[int, IntArray], Any]) -> Any:
    """Return the mean of loss(h, half h)."""
    rows = np.atleast_2d(np.asarray(halves, np.intp))
    return sum(loss(h, half) for h, half in enumerate(rows)) / len(rows)


def _predict(k: FloatArray, y: FloatArray, known: IntArray, wanted: IntArray) -> Any:
    """Interpolate the rows `wanted` from the rows `known`."""
    return k[np.ix_(wanted, known)] @ solve(k[np.ix_(known, known)], y[known])


def loss_rho(K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return `rho` of a kernel matrix, averaged over coarse subsets.

    Parameters
    ----------
    K : array_like, shape (n, n)
        Kernel matrix, nugget included.
    Y : array_like, shape (n, m) or (n,)
        Targets.
    halves : array_like of int, shape (n_halves, n_coarse) or (n_coarse,)
        Rows of the coarse subsets.
    """
    k, y = _as_working(K, _columns(Y))
    fine = _quadratic_form(k, y)[0]
    return _each_half(
        halves, lambda _, c: 1 - _quadratic_form(k[np.ix_(c, c)], y[c])[0] / fine if fine else 0.0
    )


def loss_e2(K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return the squared error of predictions from coarse subsets for all other rows.

    Parameters
    ----------
    K, Y, halves
        As for `loss_rho`.
    """
    k, y = _as_working(K, _columns(Y))

    def error(_: int, c: IntArray) -> Any:
        p = np.setdiff1d(np.arange(len(k)), c)
        return ((y[p] - _predict(k, y, c, p)) ** 2).sum()

    return _each_half(halves, error)


def loss_kfold(K: npt.ArrayLike, Y: npt.ArrayLike, folds: npt.ArrayLike) -> Any:
    """Return the sum of squared errors in cross-validation, every fold left out by itself.

    Parameters
    ----------
    K, Y
        As for `loss_rho`.
    folds : array_like of int, shape (n,)
        The fold of each row.
    """
    k, y = _as_working(K, _columns(Y))
    numbers = np.asarray(folds)
    total: Any = 0.0
    for fold in np.unique(numbers):
        out, rest = np.flatnonzero(numbers == fold), np.flatnonzero(numbers != fold)
        total += ((y[out] - _predict(k, y, rest, out)) ** 2).sum()
    return total


def leave_one_out(K: npt.ArrayLike, Y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return leave-one-out residuals (n, m) and variances (n,), every row left out by itself.

    Parameters
    ----------
    K, Y
        As for `loss_rho`.
    """
    k, y = _as_working(K, _columns(Y))
    residuals, variances = np.empty_like(y), np.empty_like(k[0])
    everything = np.arange(len(k))
    for i in everything:
        rest, one = everything[everything != i], everything[[i]]
        residuals[i] = y[i] - _predict(k, y, rest, one)[0]
        variances[i] = k[i, i] - _predict(k, k[:, one], rest, one)[0, 0]
    return residuals, variances


def _log_det(A: FloatArray) -> Any:
    """Return log det A for a symmetric positive definite A, by Gaussian elimination."""
    a = A.copy()
    for i in range(len(a)):
        a[i + 1 :] -= a[i + 1 :, i : i + 1] / a[i, i] * a[i]
    return np.log(np.diag(a)).sum()


def loss_nlml(K: npt.ArrayLike, Y: npt.ArrayLike) -> Any:
    """Return the negative log density of Y's columns, Gaussian with covariance K.

    Parameters
    ----------
    K, Y
        As for `loss_rho`.
    """
    k, y = _as_working(K, _columns(Y))
    constant = _log_det(k) + len(k) * np.log(2 * k.dtype.type(np.pi))
    return (_quadratic_form(k, y)[0] + y.shape[1] * constant) / 2


def loss_mmd(K: npt.ArrayLike, halves: npt.ArrayLike) -> Any:
    """Return the squared maximum mean discrepancy of the batch and coarse subsets.

    Parameters
    ----------
    K, halves
        As for `loss_rho`. The diagonal of K is left out.
    """
    (k,) = _as_working(K)
    everything = np.arange(len(k))

    def mean(rows: IntArray, columns: IntArray) -> Any:
        different = rows[:, None] != columns
        return k[np.ix_(rows, columns)][different].sum() / different.sum()

    return _each_half(
        halves,
        lambda _, c: mean(everything, everything) + mean(c, c) - 2 * mean(everything, c),
    )


def loss_lyapunov(
    K: npt.ArrayLike, Y: npt.ArrayLike, halves: npt.ArrayLike, pairs: npt.ArrayLike
) -> Any:
    """Return the squared difference of the divergence rates that predictions and targets have.

    Parameters
    ----------
    K, Y, halves
        As for `loss_rho`.
    pairs : array_like of int, shape (n_halves, n_pairs, 2)
        Rows of neighbouring inputs outside each half.
    """
    k, y = _as_working(K, _columns(Y))

    def rate(targets: FloatArray, both: IntArray) -> Any:
        apart = targets[both[:, 0]] - targets[both[:, 1]]
        return np.log(np.sqrt((apart**2).sum(axis=1))).mean()

    def difference(h: int, c: IntArray) -> Any:
        both = np.asarray(pairs)[h]
        return rate(_predict(k, y, c, np.arange(len(k))), both) - rate(y, both)

    return _each_half(halves, lambda h, c: difference(h, c) ** 2)


def symmetric_gradient(loss: Callable[[FloatArray], Any], K: npt.ArrayLike) -> FloatArray:
    """Return the symmetric G with d loss = sum_ij G_ij dK_ij, by central differences.

    Parameters
    ----------
    loss : callable
        Function of a symmetric matrix.
    K : array_like, shape (n, n)
        Where to differentiate. Differences are of fourth order, in longdouble.
    """
    k = np.asarray(K, np.longdouble)
    gradient = np.empty_like(k)
    h = np.longdouble(2.0) ** -16
    for i in range(len(k)):
        for j in range(i + 1):
            direction = np.zeros_like(k)
            direction[i, j] = direction[j, i] = h
            once = loss(k + direction) - loss(k - direction)
            twice = loss(k + 2 * direction) - loss(k - 2 * direction)
            gradient[i, j] = gradient[j, i] = (8 * once - twice) / (12 * h * (1 + (i != j)))
    return gradient
