"""Layers drawn at random from a Gaussian kernel of length scale 1: Lyapunov exponents and distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.kernels import Gaussian

__all__ = ["exponents", "mean_distances", "random_distances", "theoretical_exponents"]

# Cosines of which a draw of the Gaussian process is made.
_COSINES = 200

# Points at which exponents are measured, and pairs over which squared distances are averaged.
_PAIRS = 64


def theoretical_exponents(d: int) -> Doubles:
    """Return the Lyapunov exponents of random layers in d dimensions, over the squared step.

    They are (d - 2k)/2 for k = 1, ..., d, in the limit of small steps. The derivative of a layer is
    I + step A with independent normal entries: a product of such matrices has these exponents.

    References
    ----------
    Y. Le Jan, On isotropic Brownian motions, Z. Wahrscheinlichkeitstheorie 70 (1985); C. M. Newman, The
    distribution of Lyapunov exponents: exact results for random matrices, Commun. Math. Phys. 103
    (1986).
    """
    return np.asarray((d - 2.0 * np.arange(1, d + 1)) / 2.0, np.float64)


def exponents(d: int, step: float, n_layers: int, seed: Sequence[int]) -> tuple[Doubles, Doubles]:
    """Return Lyapunov exponents over the squared step, and their standard errors, both (d,).

    Parameters
    ----------
    d : int
        Dimension of the space.
    step : float
        The step of each layer.
    n_layers : int
        Number of layers.
    seed : sequence of int
        Seed of the layers. They are followed at 64 points, which are far from each other.
    """
    rng = np.random.default_rng(list(seed))
    x = 100.0 * rng.normal(size=(_PAIRS, d))
    frames, total = np.tile(np.eye(d), (_PAIRS, 1, 1)), np.zeros((_PAIRS, d))
    for _ in range(n_layers):
        frequencies, phases, amplitudes = _draw(d, rng)
        angles = x @ frequencies.T + phases
        slopes = -np.sin(angles)[:, :, None] * frequencies
        frames = frames + step * amplitudes.T @ (slopes @ frames)
        x = x + step * np.cos(angles) @ amplitudes
        frames, stretched = np.linalg.qr(frames)
        total += np.log(np.abs(np.diagonal(stretched, axis1=1, axis2=2)))
    found = total / n_layers / step**2
    return found.mean(axis=0), found.std(axis=0, ddof=1) / _PAIRS**0.5


def _draw(d: int, rng: np.random.Generator) -> tuple[Doubles, Doubles, Doubles]:
    """Return frequencies, phases and amplitudes of cosines whose covariance is the Gaussian kernel."""
    frequencies = rng.normal(size=(_COSINES, d))
    phases = rng.uniform(0.0, 2.0 * np.pi, _COSINES)
    amplitudes = (2.0 / _COSINES) ** 0.5 * rng.normal(size=(_COSINES, d))
    return frequencies, phases, amplitudes


def random_distances(
    d: int, step: float, starts: Doubles, layers: npt.NDArray[np.int_], seed: Sequence[int]
) -> Doubles:
    """Return the root mean square distances of pairs after random layers, (n_starts, n_counts).

    Parameters
    ----------
    d : int
        Dimension of the space.
    step : float
        The step of each layer.
    starts : ndarray, shape (n_starts,)
        Distances of the pairs at the start.
    layers : ndarray of int, shape (n_counts,)
        Numbers of layers, in increasing order.
    seed : sequence of int
        Seed of the layers.
    """
    rng = np.random.default_rng(list(seed))
    # Pairs that are far from each other move independently.
    x = 10.0 * rng.normal(size=(len(starts), _PAIRS, d))
    directions = rng.normal(size=x.shape)
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    points = np.stack([x, x + starts[:, None, None] * directions])
    found = []
    for number in range(int(layers[-1]) + 1):
        if number in layers:
            squares = ((points[1] - points[0]) ** 2).sum(axis=2)
            found.append(np.sqrt(squares.mean(axis=1)))
        frequencies, phases, amplitudes = _draw(d, rng)
        points = points + step * np.cos(points @ frequencies.T + phases) @ amplitudes
    return np.array(found).T


def mean_distances(d: int, step: float, starts: Doubles, layers: npt.NDArray[np.int_]) -> Doubles:
    """Return the distances by the mean field: r^2 + 2 d step^2 (1 - k(r)) after each layer."""
    kernel, squares, found = Gaussian(1.0), starts**2, []
    for number in range(int(layers[-1]) + 1):
        if number in layers:
            found.append(np.sqrt(squares))
        squares = squares + 2.0 * d * step**2 * (1.0 - kernel.value_at(np.sqrt(squares)))
    return np.array(found).T
