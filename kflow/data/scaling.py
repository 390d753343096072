"""The scaling of points, and a linear map, before a flow or another estimator sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import empty_rows, row_chunks
from kflow.data.products import product
from kflow.engine.device_array import to_host
from kflow.errors import damaged

__all__ = ["Preprocessing", "row_norms", "standardisation", "unit_pull_back"]

_SCALINGS = ("standard", "unit", None)


def row_norms(X: FloatArray) -> FloatArray:
    """Return the norms of rows, (n, 1), by which rows are scaled: 1 for those of zeros."""
    least = np.sqrt(np.finfo(X.dtype).tiny) / np.finfo(X.dtype).eps
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(X, axis=1, keepdims=True)
    doubtful = ~((norms > least) & (norms < np.inf)).ravel()
    if doubtful.any():  # squares may have over- or underflowed
        largest = np.abs(X[doubtful]).max(axis=1, keepdims=True)
        largest[largest == 0.0] = 1.0
        norms[doubtful] = largest * np.linalg.norm(X[doubtful] / largest, axis=1, keepdims=True)
    return np.where(norms > 0.0, norms, 1.0)


def unit_pull_back(X: FloatArray, covectors: FloatArray) -> FloatArray:
    """Multiply covectors (n, d) by the transposed derivative of x -> x / |x| at rows of X."""
    norms = row_norms(X)
    unit = X / norms
    along = (covectors * unit).sum(axis=1, keepdims=True)
    return np.asarray((covectors - along * unit) / norms)


def standardisation(
    X: FloatArray, name: str, weights: Doubles | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean and the standard deviation of each column.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Rows of numbers.
    name : str
        Name of the argument X, for errors.
    weights : ndarray, shape (n,), optional
        Positive weights of the rows, 1 by default.

    Returns
    -------
    mean, scale : ndarray of float64, shape (d,)
        The deviation of a column that is constant up to rounding errors is given as 1.

    Raises
    ------
    ValueError
        If the squares of the numbers overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # Differences from the first row are exactly zero in a constant column.
        origin = X[0].astype(np.float64)
        total = len(X) if weights is None else weights.sum()
        sums = sum(_sum(X[rows] - origin, weights, rows) for rows in row_chunks(len(X)))
        mean = origin + sums / total
        squares = sum(_sum(np.square(X[rows] - mean), weights, rows) for rows in row_chunks(len(X)))
        spread = np.sqrt(squares / total)
    mean, spread = to_host(mean), to_host(spread)
    if not np.isfinite(spread).all():
        raise ValueError(f"{name} has values too large to be scaled")
    noise = 10.0 * np.finfo(X.dtype).eps * np.abs(mean)
    return mean, np.where(spread > noise, spread, 1.0)


def _sum(values: FloatArray, weights: Doubles | None, rows: slice) -> FloatArray:
    if weights is not None:
        values = values * weights[rows, None]
    total: FloatArray = values.sum(axis=0)
    return total


@dataclass(frozen=True)
class Preprocessing:
    """A map of points, fixed by the training data.

    Attributes
    ----------
    unit : bool
        Whether each row is scaled to norm 1; rows of zeros stay as they are.
    mean, scale : ndarray, shape (d,), or None
        The numbers that are subtracted from each feature, and those by which it is then divided.
    components : ndarray of float64, shape (d, d), or None
        The linear map x -> components x that follows.
    """

    unit: bool = False
    mean: FloatArray | None = None
    scale: FloatArray | None = None
    components: Doubles | None = None

    ARRAYS: ClassVar[tuple[str, ...]] = ("unit", "mean", "scale", "components")

    @classmethod
    def fit(cls, X: FloatArray, scaling: Any, weights: Doubles | None = None) -> Preprocessing:
        """Learn the map from training data.

        Parameters
        ----------
        X : ndarray, shape (N, d)
            Training points.
        scaling : {"standard", "unit"} or None
            See `kflow.KernelFlowClassifier`.
        weights : ndarray of float64, shape (N,), optional
            Positive weights of the rows, 1 by default.

        Raises
        ------
        ValueError
            For an unknown scaling, or values too large to be scaled.
        """
        if scaling not in _SCALINGS:
            raise ValueError(f"scaling must be one of {_SCALINGS}, got {scaling!r}")
        if scaling == "standard":
            mean, scale = standardisation(X, "X", weights)
            return cls(mean=mean, scale=scale)
        return cls(unit=scaling == "unit")

    def followed_by(self, components: Doubles) -> Preprocessing:
        """Return the map that applies `components`, (d, d), to what this one returns."""
        return replace(self, components=components)

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return points (n, d) scaled and mapped, in the dtype of X; X itself if nothing is to do."""
        if self.mean is None and not self.unit and self.components is None:
            return X
        out = empty_rows(X, X.shape[1], X.dtype)
        for rows in row_chunks(len(X)):
            out[rows] = self._mapped(self._scaled(X[rows]))
        return out

    def _scaled(self, X: FloatArray) -> FloatArray:
        if self.mean is not None and self.scale is not None:
            scaled: FloatArray = (X - self.mean) / self.scale
            return scaled
        return X / row_norms(X) if self.unit else X

    def _mapped(self, X: FloatArray) -> FloatArray:
        return X if self.components is None else product(X, self.components.T)

    def pull_back(self, X: FloatArray, covectors: FloatArray) -> FloatArray:
        """Multiply covectors by the transposed derivative of the map.

        Parameters
        ----------
        X : ndarray, shape (n, d)
            Points before they are scaled.
        covectors : ndarray, shape (n, d)
            For each point the derivative of some number by the scaled and mapped point.

        Returns
        -------
        ndarray, shape (n, d)
            The derivatives of these numbers by the points.
        """
        back = covectors
        if self.components is not None:
            back = product(back, self.components)
        if self.scale is not None:
            return np.asarray(back / self.scale)
        return unit_pull_back(X, back) if self.unit else back

    def undone(self, points: FloatArray, X: FloatArray) -> FloatArray:
        """Return scaled points in the units of X.

        Parameters
        ----------
        points : ndarray, shape (n, d)
            Scaled points, which may have moved since.
        X : ndarray, shape (n, d)
            The points before they were scaled. The scaling ``"unit"`` removed the norms of these
            rows, and each point gets its norm back. For other scalings only the dtype matters.

        Returns
        -------
        ndarray, shape (n, d)
            The points, in the wider of the dtypes of `points` and X. ``undone(self(X), X)`` is X up
            to rounding errors. Directions that the linear map all but removes do not come back.
        """
        back = points.astype(np.result_type(points, X))
        if self.components is not None:
            back = (back @ np.linalg.pinv(self.components).T).astype(back.dtype)
        if self.mean is not None and self.scale is not None:
            back *= self.scale.astype(back.dtype)
            back += self.mean.astype(back.dtype)
        elif self.unit:
            back *= row_norms(X)
        return back

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the map as named arrays; `from_arrays` is its inverse."""
        values = {name: getattr(self, name) for name in self.ARRAYS}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], n_features: int) -> Preprocessing:
        """Return the map of `n_features` features that `to_arrays` described.

        Raises
        ------
        ModelFileError
            If the arrays describe no such map.
        """
        with damaged("preprocessing"):
            shapes: dict[str, tuple[int, ...]] = {
                "unit": (),
                "mean": (n_features,),
                "scale": (n_features,),
                "components": (n_features, n_features),
            }
            for name, array in arrays.items():
                if array.shape != shapes[name] or array.dtype.kind not in "fb":
                    raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}")
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} is not finite")
            if ("mean" in arrays) != ("scale" in arrays):
                raise ValueError("mean and scale belong together")
            if "scale" in arrays and not (arrays["scale"] > 0.0).all():
                raise ValueError("scale is not positive")
            components = arrays.get("components")
            if components is not None:
                components = components.astype(np.float64)
            return cls(bool(arrays["unit"]), arrays.get("mean"), arrays.get("scale"), components)
