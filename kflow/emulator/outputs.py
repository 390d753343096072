"""The reduction of outputs: each is standardised, and all of them are combined to a few scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_choice, as_count, as_number, shown
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.chunks import row_chunks
from kflow.data.scaling import standardisation
from kflow.engine.threads import single_threaded_blas
from kflow.errors import damaged
from kflow.storage.model_file import ModelReader

__all__ = ["OutputReduction"]

# Most components, unless their number is given.
_MAX_COMPONENTS = 100

# Up to so many rows or outputs the matrix of their products is formed; beyond that, directions are
# found from random combinations of the outputs.
_GRAM = 2000

# Further random combinations, and products with the data that sharpen them.
_OVERSAMPLING, _POWERS = 10, 2

# Directions with less than this part of the variance are rounding errors.
_NOISE = 1e-14


@dataclass(frozen=True)
class OutputReduction:
    """Principal components of standardised outputs: scores of mean 0 and variance 1, and the way back.

    Attributes
    ----------
    mean, scale : ndarray, shape (m,)
        What is subtracted from each output, and by what it is then divided.
    spread : ndarray, shape (m,)
        Standard deviation of each output, 0 if it is constant up to rounding errors.
    components : ndarray, shape (q, m)
        Orthonormal directions of standardised outputs.
    deviations : ndarray, shape (q,)
        Standard deviation along each direction.
    truncation : ndarray, shape (m,)
        For each standardised output the root mean square of what the components leave out, at rows
        that had no part in the components.
    """

    mean: Doubles
    scale: Doubles
    spread: Doubles
    components: Doubles
    deviations: Doubles
    truncation: Doubles

    ARRAYS: ClassVar[tuple[str, ...]] = (
        "mean",
        "scale",
        "spread",
        "components",
        "deviations",
        "truncation",
    )

    @classmethod
    def fit(
        cls, Y: FloatArray, n_components: Any, scaling: str | None, rng: np.random.Generator
    ) -> OutputReduction:
        """Find the components of outputs (N, m).

        Parameters
        ----------
        Y : ndarray, shape (N, m)
            Outputs.
        n_components : int, float or "auto"
            The number q of components; or, as a float below 1, the share of the variance of
            standardised outputs that may be left out. ``"auto"``: as many as there may be, of which
            `shortened` keeps some.
        scaling : {"standard"} or None
            Whether outputs are divided by their standard deviations.
        rng : numpy.random.Generator
            Source of the random combinations, where there are more than 2000 rows and outputs.

        Notes
        -----
        The residual of a row from components to which it has contributed is too small. It is divided
        by 1 - h with the leverage h of the row, as in leave-one-out of linear regression.

        References
        ----------
        N. Halko, P. G. Martinsson and J. A. Tropp, Finding structure with randomness, SIAM Rev. 53
        (2011), 217-288, algorithm 4.4.
        """
        mean, scale = standardisation(Y, "Y")
        if scaling is None:
            # A common unit, so that the size of all outputs together still does not matter.
            scale = np.full_like(scale, _common_scale(Y, mean))
        else:
            as_choice(scaling, "output_scaling", ("standard",))
        data = _Standardised(Y, mean, scale)
        spread = scale * np.sqrt(data.squares / len(Y))
        spread[spread <= 10.0 * np.finfo(Y.dtype).eps * np.abs(mean)] = 0.0
        values, directions = _principal(data, rng)
        n_kept = _number(n_components, values, float(data.squares.sum()), min(Y.shape))
        if not spread.any():
            n_kept = 0  # rounding errors are nothing to be learned
        kept = np.ascontiguousarray(directions[:n_kept])
        deviations = np.sqrt(values[:n_kept] / len(Y))
        return cls(mean, scale, spread, kept, deviations, np.zeros(Y.shape[1])).shortened(n_kept, Y)

    def shortened(self, n_components: int, Y: FloatArray) -> OutputReduction:
        """Return the reduction to the first components of all, for the outputs (N, m) of `fit`."""
        reduction = replace(
            self,
            components=self.components[:n_components],
            deviations=self.deviations[:n_components],
        )
        squares = np.zeros(Y.shape[1])
        for rows in row_chunks(len(Y)):
            scores = reduction.reduced(Y[rows])
            squares += np.square(reduction.left_out(Y[rows], scores, len(Y))).sum(axis=0)
        return replace(reduction, truncation=np.sqrt(squares / len(Y)))

    @property
    def n_components(self) -> int:
        """The number q of components."""
        return len(self.components)

    def reduced(self, Y: FloatArray) -> Doubles:
        """Return the scores (n, q) of outputs (n, m)."""
        scores = np.empty((len(Y), self.n_components))
        with single_threaded_blas:
            for rows in row_chunks(len(Y)):
                scores[rows] = ((Y[rows] - self.mean) / self.scale) @ self.components.T
        return scores / self.deviations

    def left_out(self, Y: FloatArray, scores: Doubles, n_rows: int) -> Doubles:
        """Return what the components leave out of `n_rows` standardised training rows, (n, m).

        The residual of each row is enlarged by its leverage.
        """
        leverage = (1.0 + np.square(scores).sum(axis=1)) / n_rows
        residuals = (Y - self.mean) / self.scale - self.standardised(scores)
        return np.asarray(residuals / np.maximum(1.0 - leverage, 0.1)[:, None])

    def standardised(self, scores: Doubles) -> Doubles:
        """Return the standardised outputs (n, m) that scores (n, q) stand for."""
        with single_threaded_blas:
            return np.asarray((scores * self.deviations) @ self.components)

    @property
    def back(self) -> Doubles:
        """What scores are multiplied by for outputs, to which the means are then added, (q, m)."""
        return np.asarray(self.components * self.deviations[:, None] * self.scale)

    def outputs(self, scores: Doubles) -> Doubles:
        """Return the outputs (n, m) that scores (n, q) stand for."""
        out = self.standardised(scores)
        out *= self.scale
        out += self.mean
        return out

    def output_variances(self, variances: Doubles) -> Doubles:
        """Return the variances (n, m) of outputs, truncation included, from those of scores (n, q)."""
        with single_threaded_blas:
            out = (variances * self.deviations**2) @ np.square(self.components)
        out += self.truncation**2
        out *= self.scale**2
        return np.asarray(out)

    def output_jacobians(self, jacobians: Doubles) -> Doubles:
        """Return derivatives (n, m, d) of outputs from those of scores, (n, q, d)."""
        with single_threaded_blas:
            return np.asarray(np.matmul(self.back.T, jacobians))

    # ---- files --------------------------------------------------------------------------------

    def arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the arrays of a model file, by name; `read` is the inverse."""
        for name in self.ARRAYS:
            yield f"output_{name}", getattr(self, name)

    @classmethod
    def read(cls, reader: ModelReader) -> OutputReduction:
        """Return the reduction that a model file holds.

        Raises
        ------
        ModelFileError
            If the arrays are damaged or do not fit each other.
        """
        with damaged("outputs"):
            arrays = {name: reader.array(f"output_{name}") for name in cls.ARRAYS}
            q, m = arrays["components"].shape
            shapes = {"components": (q, m), "deviations": (q,)}
            for name, array in arrays.items():
                if array.shape != shapes.get(name, (m,)) or array.dtype != np.float64:
                    raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}")
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} is not finite")
        return cls(**arrays)


def _common_scale(Y: FloatArray, mean: Doubles) -> float:
    """Return the root mean square of all outputs around their means, 1 if it is 0."""
    total = sum(float(np.square(Y[rows] - mean).sum()) for rows in row_chunks(len(Y)))
    return float(np.sqrt(total / Y.size)) or 1.0


class _Standardised:
    """Standardised outputs, a few rows at a time: a copy of all of them may not fit into memory."""

    def __init__(self, Y: FloatArray, mean: Doubles, scale: Doubles) -> None:
        self._Y, self._mean, self._scale = Y, mean, scale
        self.shape = Y.shape
        self.squares = np.zeros(Y.shape[1])
        for _, chunk in self.chunks():
            self.squares += np.square(chunk).sum(axis=0)

    def chunks(self) -> Iterator[tuple[slice, Doubles]]:
        for rows in row_chunks(len(self._Y)):
            yield rows, (self._Y[rows] - self._mean) / self._scale

    def times(self, B: Doubles) -> Doubles:
        """Return Z B."""
        return np.concatenate([chunk @ B for _, chunk in self.chunks()])

    def transposed_times(self, A: Doubles) -> Doubles:
        """Return Z' A."""
        total = np.zeros((self.shape[1], A.shape[1]))
        for rows, chunk in self.chunks():
            total += chunk.T @ A[rows]
        return total

    def products_of_outputs(self) -> Doubles:
        """Return Z' Z."""
        total = np.zeros((self.shape[1], self.shape[1]))
        for _, chunk in self.chunks():
            total += chunk.T @ chunk
        return total


def _principal(data: _Standardised, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Return eigenvalues of Z' Z, the largest first, and unit eigenvectors as rows."""
    n, m = data.shape
    with single_threaded_blas:
        if m <= min(n, _GRAM):
            values, vectors = np.linalg.eigh(data.products_of_outputs())
            return values[::-1], vectors.T[::-1]
        if n <= _GRAM:
            Z = np.concatenate([chunk for _, chunk in data.chunks()])
        else:
            width = min(_MAX_COMPONENTS + _OVERSAMPLING, n, m)
            basis = data.times(rng.standard_normal((m, width)))
            for _ in range(_POWERS):
                across = np.linalg.qr(data.transposed_times(np.linalg.qr(basis)[0]))[0]
                basis = data.times(across)
            Z = data.transposed_times(np.linalg.qr(basis)[0]).T
        _, singular, directions = np.linalg.svd(Z, full_matrices=False)
        return singular**2, directions


def _number(n_components: Any, values: Doubles, total: float, limit: int) -> int:
    """Return how many components are kept."""
    rank = int((values > _NOISE * total).sum())
    if isinstance(n_components, str):
        as_choice(n_components, "n_components", ("auto",))
        return min(rank, _MAX_COMPONENTS)
    if isinstance(n_components, (float, np.floating)):
        share = as_number(n_components, "n_components")
        if not 0.0 <= share < 1.0:
            raise ValueError(
                "n_components must be a whole number, or as a float a share of the variance that may "
                f"be left out, at least 0 and below 1; got {shown(n_components)}"
            )
        left = total - np.cumsum(values[:rank])
        enough = np.flatnonzero(left <= share * total)
        wanted = int(enough[0]) + 1 if len(enough) else rank
        return min(wanted, rank, _MAX_COMPONENTS)
    return min(as_count(n_components, "n_components", 1, limit), rank)
