"""The scaling of inputs, and their reduction to the directions along which outputs change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_number, shown
from kflow._base.array_types import Doubles
from kflow.data.scaling import standardisation
from kflow.engine.threads import single_threaded_blas
from kflow.errors import damaged
from kflow.kernels import Matern52
from kflow.learning.gradient_metric import LinearMap, MapSettings, learned_metric
from kflow.storage.model_file import ModelReader

__all__ = ["InputReduction"]

# The nugget of the interpolant whose gradients are looked at.
_NUGGET = 1e-4

# How often points are mapped before the gradients count: the first ones are those of a kernel that
# takes all inputs for equal.
_MAPS = 4


@dataclass(frozen=True)
class InputReduction:
    """x -> (x - mean) / scale, and then the coordinates along some directions, if there are any.

    Attributes
    ----------
    mean, scale : ndarray, shape (d,)
        Of each input.
    directions : ndarray, shape (d, p), or None
        Columns by which standardised inputs are multiplied; coordinates have variance 1.
    """

    mean: Doubles
    scale: Doubles
    directions: Doubles | None = None

    @classmethod
    def fit(cls, X: Doubles) -> InputReduction:
        """Return the standardisation of inputs (N, d)."""
        return cls(*standardisation(X, "X"))

    def reduced(
        self,
        X: Doubles,
        Z: Doubles,
        n_directions: Any,
        n_threads: int | None,
    ) -> InputReduction:
        """Return the reduction to the leading directions of gradients.

        Parameters
        ----------
        X : ndarray, shape (N, d)
            Inputs.
        Z : ndarray, shape (N, q)
            Scores, each times what it counts.
        n_directions : int or float
            The number p; or, as a float below 1, the share of the mean squared gradient that may be
            left out.
        n_threads : int or None
            Threads.

        Notes
        -----
        N^3 / 3 flops: some rows of many suffice. The eigenvectors of the mean of J' J, for the Jacobian J of an interpolant with a kernel of
        one length scale, after four maps by the root of that mean: P. G. Constantine, E. Dow and Q. Wang,
        Active subspace methods in theory and practice, SIAM J. Sci. Comput. 36 (2014), A1500-A1524;
        A. Radhakrishnan, D. Beaglehole, P. Pandit and M. Belkin, Mechanism for feature learning in
        neural networks and backpropagation-free machine learning models, Science 383 (2024).
        """
        points = self(X)
        d = points.shape[1]
        kernel = Matern52(2.0 * float(np.sqrt(d)))
        settings = MapSettings(power=1.0, n_steps=_MAPS)
        first = LinearMap.learn(points, Z, kernel, _NUGGET, settings, n_threads=n_threads)
        M = learned_metric(first(points), Z, kernel, _NUGGET, n_threads=n_threads)
        with single_threaded_blas:
            eigenvalues, vectors = np.linalg.eigh(first.components.T @ M @ first.components)
        p = _number(n_directions, eigenvalues[::-1], d)
        directions = vectors[:, ::-1][:, :p]
        deviations = (points @ directions).std(axis=0)
        return InputReduction(
            self.mean, self.scale, directions / np.where(deviations > 0.0, deviations, 1.0)
        )

    @property
    def n_coordinates(self) -> int:
        """The number of coordinates."""
        return len(self.mean) if self.directions is None else self.directions.shape[1]

    def __call__(self, X: Doubles) -> Doubles:
        """Return the coordinates (n, p) of inputs (n, d)."""
        scaled = (X - self.mean) / self.scale
        if self.directions is None:
            return np.ascontiguousarray(scaled)
        with single_threaded_blas:
            return np.ascontiguousarray(scaled @ self.directions)

    def pull_back(self, gradients: Doubles) -> Doubles:
        """Return derivatives (..., d) by inputs from those by coordinates, (..., p)."""
        if self.directions is not None:
            with single_threaded_blas:
                gradients = gradients @ self.directions.T
        return np.asarray(gradients / self.scale)

    # ---- files --------------------------------------------------------------------------------

    def arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name; `read` is the inverse."""
        yield "input_mean", self.mean
        yield "input_scale", self.scale
        if self.directions is not None:
            yield "input_directions", self.directions

    @classmethod
    def read(cls, reader: ModelReader, n_features: int) -> InputReduction:
        """Return the reduction that a model file holds.

        Raises
        ------
        ModelFileError
            If the arrays are damaged or do not fit each other.
        """
        with damaged("inputs"):
            mean, scale = (reader.array(f"input_{name}", ndim=1) for name in ("mean", "scale"))
            directions = None
            if "input_directions" in reader:
                directions = reader.array("input_directions", ndim=2)
            parts = [mean, scale] if directions is None else [mean, scale, directions]
            for array in parts:
                if len(array) != n_features or array.dtype != np.float64:
                    raise ValueError(f"{len(array)} numbers do not fit {n_features} inputs")
                if not np.isfinite(array).all():
                    raise ValueError("a number is not finite")
            if not (scale > 0.0).all():
                raise ValueError("a scale is not positive")
        return cls(mean, scale, directions)


def _number(n_directions: Any, eigenvalues: Doubles, d: int) -> int:
    """Return how many directions are kept."""
    if isinstance(n_directions, (float, np.floating)):
        share = as_number(n_directions, "input_components")
        if not 0.0 < share < 1.0:
            raise ValueError(
                "input_components must be a whole number, or as a float a share of the squared "
                f"gradient between 0 and 1; got {shown(n_directions)}"
            )
        left = 1.0 - np.cumsum(eigenvalues) / eigenvalues.sum()
        return int(np.flatnonzero(left <= share)[0]) + 1
    return as_count(n_directions, "input_components", 1, d)
