"""What happens to the data before a flow: scaling, and projection to fewer dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._threads import single_threaded_blas
from kflow._validation import FloatArray
from kflow.model_file import damaged

__all__ = ["Preprocessing", "standardisation"]

_SCALINGS = ("standard", "unit", None)

# What is computed in float64 is computed for so many rows at a time: no float64 copy of all the data
# is made.
_CHUNK = 1024


def _chunks(n_rows: int) -> Iterator[slice]:
    for start in range(0, n_rows, _CHUNK):
        yield slice(start, start + _CHUNK)


def _unit_rows(X: FloatArray) -> FloatArray:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0.0, norms, 1.0)


def standardisation(
    X: FloatArray, name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard deviation of each column.

    The deviation of a column that is constant, but for rounding errors, is given as 1.

    Raises
    ------
    ValueError
        If the squares overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # From the first row, the differences of a constant column are exactly zero.
        origin = X[0].astype(np.float64)
        sums = sum((X[rows] - origin).sum(axis=0) for rows in _chunks(len(X)))
        mean = origin + sums / len(X)
        squares = sum(np.square(X[rows] - mean).sum(axis=0) for rows in _chunks(len(X)))
        spread = np.sqrt(squares / len(X))
    if not np.isfinite(spread).all():
        raise ValueError(f"{name} has values too large to be scaled")
    noise = 10.0 * np.finfo(X.dtype).eps * np.abs(mean)
    return mean, np.where(spread > noise, spread, 1.0)


@dataclass(frozen=True)
class Preprocessing:
    """A map of points, fixed by the training data.

    Attributes
    ----------
    unit : bool
        Scale each row to norm 1 (rows of zeros stay).
    mean, scale : ndarray (d,) or None
        Subtracted from and divided into each feature.
    basis : ndarray (d, rank) or None
        Orthonormal columns onto which rows are projected.
    energy_dropped : float
        Part of the training data's sum of squares outside the projection.
    """

    unit: bool = False
    mean: FloatArray | None = None
    scale: FloatArray | None = None
    basis: FloatArray | None = None
    energy_dropped: float = 0.0

    ARRAYS: ClassVar[tuple[str, ...]] = ("unit", "mean", "scale", "basis", "energy_dropped")

    @classmethod
    def fit(cls, X: FloatArray, *, scaling: Any, rank: Any) -> Preprocessing:
        """Learn the map from training data.

        Parameters
        ----------
        X : ndarray, shape (N, d)
            Training points.
        scaling : {"standard", "unit"} or None
            See `kflow.KernelFlowClassifier`.
        rank : int or None
            Dimension of the projection, at most d.

        Notes
        -----
        The projection takes the leading eigenvectors of X'X in float64: 2 N d^2 + 10 d^3 flops, on
        one thread, so that it does not depend on how many BLAS has.
        """
        if scaling not in _SCALINGS:
            raise ValueError(f"scaling must be one of {_SCALINGS}, got {scaling!r}")
        d = X.shape[1]
        mean = scale = None
        if scaling == "standard":
            mean, scale = standardisation(X, "X")
        scaled = cls(unit=scaling == "unit", mean=mean, scale=scale)
        if rank is None:
            return scaled
        if isinstance(rank, (bool, float)) or not hasattr(rank, "__index__"):
            raise TypeError(f"rank must be a whole number or None, got {rank!r}")
        if not 1 <= int(rank) <= d:
            raise ValueError(f"rank must lie between 1 and the {d} features of X, got {rank}")
        moments = np.zeros((d, d))
        with single_threaded_blas:
            for rows in _chunks(len(X)):
                points = scaled(X[rows]).astype(np.float64, copy=False)
                moments += points.T @ points
            energies, vectors = np.linalg.eigh(moments)
        basis = np.ascontiguousarray(vectors[:, ::-1][:, : int(rank)])
        dropped = max(0.0, float(energies[: d - int(rank)].sum()))
        total = float(energies.sum())
        return cls(scaled.unit, mean, scale, basis, dropped / total if total > 0.0 else 0.0)

    def __call__(self, X: FloatArray) -> FloatArray:
        """Map points (n, d) to (n, d) or (n, rank), in the dtype of X."""
        if self.mean is None and self.basis is None and not self.unit:
            return X
        n_columns = X.shape[1] if self.basis is None else self.basis.shape[1]
        out = np.empty((len(X), n_columns), X.dtype)
        basis = None if self.basis is None else self.basis.astype(X.dtype, copy=False)
        with single_threaded_blas:
            for rows in _chunks(len(X)):
                points = X[rows]
                if self.mean is not None and self.scale is not None:
                    points = ((points - self.mean) / self.scale).astype(X.dtype, copy=False)
                if self.unit:
                    points = _unit_rows(points)
                out[rows] = points if basis is None else points @ basis
        return out

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the map as named arrays; `from_arrays` is its inverse."""
        values = {name: getattr(self, name) for name in self.ARRAYS}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, npt.NDArray[Any]], n_features: int, dimension: int
    ) -> Preprocessing:
        """Return the map that `to_arrays` described, from so many features to that dimension.

        Raises
        ------
        ModelFileError
            If there is no such map.
        """
        with damaged("preprocessing"):
            shapes = {
                "unit": (),
                "mean": (n_features,),
                "scale": (n_features,),
                "basis": (n_features, dimension),
                "energy_dropped": (),
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
            if "basis" not in arrays and n_features != dimension:
                raise ValueError(f"{n_features} features do not become {dimension} without a basis")
            return cls(
                bool(arrays["unit"]),
                arrays.get("mean"),
                arrays.get("scale"),
                arrays.get("basis"),
                float(arrays["energy_dropped"]),
            )
