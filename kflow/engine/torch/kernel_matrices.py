"""Kernel matrices on a device, tile by tile: their values, products with them, and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kflow._base.array_types import FloatArray
from kflow.engine.interface import Profile, Term
from kflow.engine.torch.padding import filled_up, padded
from kflow.engine.torch.precision import float32_products
from kflow.engine.torch.profiles import overwritten_by_values, slopes
from kflow.engine.torch.transfers import to_device

__all__ = ["evaluate", "products", "pull_back"]

# Largest number of entries of a tile of the kernel matrix, and its rows: always as many for as many
# centres, since products of another shape may round otherwise.
_ENTRIES = 2**26
_MOST_ROWS, _LEAST_ROWS, _ROWS_ON_CPU = 8192, 256, 256


class _Centres:
    """Features of the centres, (M, D), and what their distances from other points need.

    M is the number of centres, rounded up: the last ones are none.
    """

    def __init__(self, features: Tensor) -> None:
        # Distances are differences of squares: near the origin they cancel least.
        self.origin = features.mean(dim=0) if len(features) else features.new_zeros(1)
        self.features = filled_up(features, rows=True)
        self.relative = filled_up(features - self.origin, rows=True)
        self.norms = self.relative.square().sum(dim=1)

    def squared_distances(self, u: Tensor) -> Tensor:
        """Return the squared distances (h, M) of other features (h, D)."""
        x = u - self.origin
        norms = self.norms + x.square().sum(dim=1)[:, None]
        return torch.addmm(norms, x, self.relative.T, alpha=-2.0).clamp_(min=0.0)


class _Tile(NamedTuple):
    """Some rows of a kernel matrix, filled up by zeros to a full tile.

    Attributes
    ----------
    rows : slice
        The rows.
    features, given : list of Tensor
        Their features, (h, D_i), and their parts of the given matrices, (h, M).
    """

    rows: slice
    features: list[Tensor]
    given: list[Tensor]

    @property
    def n_rows(self) -> int:
        """Number of rows without those that fill up."""
        return int(self.rows.stop - self.rows.start)


def _filled(array: FloatArray, rows: slice, height: int, device: str) -> Tensor:
    return padded(to_device(array[rows], device), height)


def _tiles(
    n: int, m: int, X: Sequence[FloatArray], given: Sequence[FloatArray], device: str
) -> Iterator[_Tile]:
    """Yield the tiles of a matrix of n rows and m columns."""
    most = _ROWS_ON_CPU if torch.device(device).type == "cpu" else _MOST_ROWS
    height = max(_LEAST_ROWS, min(most, _ENTRIES // max(m, 1)))
    for first in range(0, n, height):
        rows = slice(first, min(first + height, n))
        features, parts = (
            [_filled(array, rows, height, device) for array in arrays] for arrays in (X, given)
        )
        yield _Tile(rows, features, [filled_up(part, columns=True) for part in parts])


class _Matrix:
    """A composite kernel and its centres, which gives tiles of its matrix.

    Parameters
    ----------
    terms : sequence of Term
        The kernel.
    X, Z : sequence of ndarray
        Features of the points and of the centres; the same arrays for K(X, X).
    device : str
        The device.
    """

    def __init__(
        self, terms: Sequence[Term], X: Sequence[FloatArray], Z: Sequence[FloatArray], device: str
    ) -> None:
        self._terms = terms
        self._centres = [_Centres(to_device(z, device)) for z in Z]
        # Where the diagonal belongs to points and themselves, its distances are 0.
        self._same = [x is z for x, z in zip(X, Z, strict=True)]

    def tile(self, tile: _Tile, number: int = -1) -> Tensor:
        """Return the values (h, M) of a term, the last of which is the kernel."""
        term = self._terms[number]
        if term.profile is not None:
            value = self._leaf(term.profile, term.source, tile)
        elif term.operation == "constant":
            value = tile.features[0].new_ones(len(tile.features[0]), len(self._centres[0].features))
        elif term.operation == "given":
            value = tile.given[term.source]
        elif term.operation == "sum":
            value = self.tile(tile, term.left) + self.tile(tile, term.right)
        else:
            value = self.tile(tile, term.left) * self.tile(tile, term.right)
        return value if term.factor == 1.0 else term.factor * value

    def _leaf(self, profile: Profile, source: int, tile: _Tile) -> Tensor:
        u, centres = tile.features[source], self._centres[source]
        if profile.family == "polynomial":
            products = u @ centres.features.T
            return (products / profile.length_scale**2 + profile.alpha) ** profile.degree
        r2 = centres.squared_distances(u)
        if self._same[source]:
            r2.diagonal(tile.rows.start)[: tile.n_rows].zero_()
        return overwritten_by_values(profile, r2)


def evaluate(
    terms: Sequence[Term],
    X: Sequence[FloatArray],
    Z: Sequence[FloatArray],
    given: Sequence[FloatArray],
    out: FloatArray,
    device: str,
) -> None:
    """Write a composite kernel to `out`, (n, m); see `kflow.engine.interface.Engine.evaluate`."""
    matrix = _Matrix(terms, X, Z, device)
    n, m = out.shape
    for tile in _tiles(n, m, X, given, device):
        with float32_products(tf32=False):
            part = matrix.tile(tile)
        out[tile.rows] = part[: tile.n_rows, :m].cpu().numpy()


def products(
    terms: Sequence[Term],
    X: Sequence[FloatArray],
    Z: Sequence[FloatArray],
    given: Sequence[FloatArray],
    C: FloatArray,
    device: str,
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield rows and their part of K(X, Z) C, (n, q), where C is (m, q).

    The rows of X are read just before, so that the result may be written where they were.
    """
    m, q = C.shape
    matrix = _Matrix(terms, X, Z, device)
    coefficients = filled_up(to_device(C, device), rows=True, columns=True)
    for tile in _tiles(len(X[0]), m, X, given, device):
        with float32_products(tf32=False):
            product = matrix.tile(tile) @ coefficients
        yield tile.rows, product[: tile.n_rows, :q].cpu().numpy()


def pull_back(
    X: FloatArray,
    Z: FloatArray,
    C: FloatArray,
    profile: Profile,
    A: FloatArray,
    out: FloatArray,
    device: str,
) -> None:
    """Write the gradients sum_j 2 k'(|x_i - z_j|^2) (a_i . c_j) (x_i - z_j) to `out`, (n, d)."""
    m, d = Z.shape
    centres = _Centres(to_device(Z, device))
    coefficients = filled_up(to_device(C, device), rows=True)
    relative = filled_up(centres.relative, columns=True)
    for tile in _tiles(len(X), m, [X, A], [], device):
        x, a = tile.features
        with float32_products(tf32=False):
            weights = 2.0 * slopes(profile, centres.squared_distances(x)) * (a @ coefficients.T)
            others = (weights @ relative)[:, :d]
        gradients = weights.sum(dim=1)[:, None] * (x - centres.origin) - others
        out[tile.rows] = gradients[: tile.n_rows].cpu().numpy()
