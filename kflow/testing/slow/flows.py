"""A slow flow: draws of batches, layers, and subspaces of a given rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Rows
from kflow.kernels import Kernel
from kflow.testing.slow.kernels import gram, squared_distances
from kflow.testing.slow.linear import Array, as_working, columns, solve
from kflow.testing.slow.points import class_distance_ratio, move, rho_gradient, step_length

__all__ = ["FlowResult", "LayerResult", "directions_needed", "draw", "flow", "layer", "subspace"]

T = TypeVar("T")


def draw(
    rng: np.random.Generator, n: int, batch_size: int, coarse_fraction: float, n_halves: int
) -> tuple[Rows, Rows]:
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

    points: Array
    follow: dict[str, Array]
    rho: float
    step: float
    Z: Array
    C: Array


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
    points, targets = as_working(X, columns(Y))
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

    points: Array
    follow: dict[str, Array]
    rho: Array
    step: Array
    class_distance_ratio: Array
    rank: Array
    layers: list[tuple[Array, Array]]
    reduced_points: Array


@dataclass
class _Carried:
    """Points in coordinates: inside + rest, and the distances h from the basis's span."""

    coordinates: Array  # (n, r)
    h: Array  # (n,)
    basis: Array  # (d, r)
    rest: Array  # (n, d): what does not move

    @classmethod
    def start(cls, X: Array, basis: Array, keep_rest: bool) -> _Carried:
        inside = X @ basis
        rest = X - inside @ basis.T
        h = np.sqrt((rest**2).sum(axis=1))
        return cls(inside, h, basis, rest if keep_rest else np.zeros_like(rest))

    def drop(self, kept: Array, dropped: Array) -> None:
        """Go on in the directions `kept`, orthonormal columns in today's coordinates."""
        lost = self.coordinates @ dropped
        self.h = np.sqrt(self.h**2 + (lost**2).sum(axis=1))
        self.rest = self.rest + lost @ (self.basis @ dropped).T
        self.coordinates, self.basis = self.coordinates @ kept, self.basis @ kept

    def reduced(self) -> Array:
        return np.hstack([self.coordinates, self.h[:, None]])

    def restored(self) -> Array:
        return np.asarray(self.coordinates @ self.basis.T + self.rest)


def subspace(X: npt.ArrayLike, rank: int) -> Array:
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
    r2 = squared_distances(points, points)
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
    (points,) = as_working(X)
    followed = {name: as_working(other)[0] for name, other in (follow or {}).items()}
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
