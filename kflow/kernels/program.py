"""Kernels as programs of an engine: terms that refer to earlier ones, and the features they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.engine.interface import Engine, Profile
from kflow.engine.interface import Term as EngineTerm
from kflow.kernels.features import FeatureMap, Identity, Selection

__all__ = ["Contraction", "Part", "Program", "Term", "apply", "contract", "evaluate"]

# Largest number of entries of the matrices that users' functions give at a time.
_GIVEN_ENTRIES = 2**21


class Part(Protocol):
    """What a program asks of a kernel, and of each part of a kernel."""

    def check_dimension(self, d: int) -> None:
        """Raise ValueError if the kernel cannot take points in d dimensions."""

    def emit(self, program: Program) -> int:
        """Append the kernel's terms to a program and return the number of its own."""

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the loss's derivatives with respect to the own entries of theta."""


class GivenPart(Protocol):
    """What a program asks of a part whose matrix is given by a user's function."""

    def given_matrix(self, X: FloatArray, Z: FloatArray) -> FloatArray:
        """Return K(X, Z)."""

    def points_contraction(self, X: FloatArray, G: FloatArray) -> FloatArray:
        """Return sum_ij G_ij dK(X, X)_ij / dX."""


@dataclass
class Term:
    """A kernel, or a part of one, and the number of its term."""

    kernel: Part
    number: int = -1


class Program:
    """A kernel on given points.

    Terms refer to earlier terms by number; the last one emitted is the kernel. Each has a factor.
    Leaves refer to features of the points, or to matrices that a user's function gives.

    Parameters
    ----------
    kernel : Part
        The kernel.
    X : ndarray, shape (n, d)
        Points.
    Z : ndarray, shape (m, d)
        Other points, or X itself.
    """

    def __init__(self, kernel: Part, X: FloatArray, Z: FloatArray) -> None:
        kernel.check_dimension(X.shape[1])
        self.X, self.Z = X, Z
        self.nodes: list[Term] = []
        self._terms: list[dict[str, Any]] = []
        self.maps: list[FeatureMap] = []
        self._given: list[tuple[GivenPart, Selection | None]] = []
        self._columns: tuple[int, ...] | None = None
        self.emit(kernel)

    # ---- what kernels call --------------------------------------------------------------------

    def emit(self, kernel: Part) -> int:
        """Append the terms of a kernel; nodes are in the order of theta."""
        node = Term(kernel)
        self.nodes.append(node)
        node.number = kernel.emit(self)
        return node.number

    def _append(self, **term: Any) -> int:
        self._terms.append({"factor": 1.0, **term})
        return len(self._terms) - 1

    @contextmanager
    def reading(self, columns: tuple[int, ...]) -> Iterator[None]:
        """Let the terms that are appended meanwhile read some of the columns only."""
        before = self._columns
        # Within chosen columns, numbers count these.
        self._columns = columns if before is None else tuple(before[i] for i in columns)
        yield
        self._columns = before

    def add_features(self, features: FeatureMap) -> int:
        """Return the number of a feature map. Only maps without parameters are shared."""
        if self._columns is not None:
            features = Selection(self._columns, features)
        if not features.has_parameters and features in self.maps:
            return self.maps.index(features)
        self.maps.append(features)
        return len(self.maps) - 1

    def centre(self) -> tuple[float, ...]:
        """Return a point among those of the rows, with the columns that are read."""
        X = self.X
        if self._columns is not None:
            # In the order of all other points, for the same rounding.
            X = np.ascontiguousarray(X[:, self._columns])
        return tuple(X.mean(axis=0).tolist()) if len(X) else (0.0,) * X.shape[1]

    def add_leaf(self, profile: Profile, features: int) -> int:
        """Append a function of distances or products of features."""
        return self._append(operation="leaf", profile=profile, source=features)

    def add_constant(self) -> int:
        """Append the number one."""
        return self._append(operation="constant")

    def add_given(self, kernel: GivenPart) -> int:
        """Append a matrix that a user's function gives."""
        columns = None if self._columns is None else Selection(self._columns, Identity())
        self._given.append((kernel, columns))
        return self._append(operation="given", source=len(self._given) - 1)

    def add(self, left: int, right: int) -> int:
        """Append the sum of two terms."""
        return self._append(operation="sum", left=left, right=right)

    def multiply(self, left: int, right: int) -> int:
        """Append the product of two terms."""
        return self._append(operation="product", left=left, right=right)

    def scale(self, term: int, factor: float) -> int:
        """Multiply a term by a number."""
        self._terms[term]["factor"] *= factor
        return term

    # ---- what engines take --------------------------------------------------------------------

    def terms(self) -> list[EngineTerm]:
        """Return the terms."""
        return [EngineTerm(**term) for term in self._terms]

    def given(self) -> list[FloatArray]:
        """Return the matrices that users' functions give."""
        return [
            kernel.given_matrix(self.X, self.Z)
            if columns is None
            else kernel.given_matrix(columns.of(self.X), columns.of(self.Z))
            for kernel, columns in self._given
        ]

    def features(self, points: FloatArray) -> list[FloatArray]:
        """Return the features of points."""
        return [features(points) for features in self.maps]

    @property
    def has_given(self) -> bool:
        """Whether users' functions have a part in the kernel."""
        return bool(self._given)

    def given_points(self, term: Term) -> FloatArray:
        """Return X as the user's function behind a term reads it."""
        columns = self._given[self.source(term)][1]
        return self.X if columns is None else columns.of(self.X)

    def given_points_gradient(self, number: int, G: FloatArray) -> FloatArray:
        """Return dLoss / dX, (n, d), by a given matrix."""
        kernel, columns = self._given[number]
        if columns is None:
            return kernel.points_contraction(self.X, G)
        return columns.points_gradient(self.X, kernel.points_contraction(columns.of(self.X), G))

    def source(self, term: Term) -> int:
        """Return the number of the features or of the given matrix that a term reads."""
        return int(self._terms[term.number]["source"])


class Contraction:
    """sum_ij G_ij dK_ij for all that K depends on.

    Parameters
    ----------
    program : Program
        The kernel on X and X.
    G : ndarray, shape (n, n)
        dLoss / dK, symmetric.
    points : bool
        Whether the gradient with respect to the points is needed, too.
    n_threads : int
        Threads.

    Attributes
    ----------
    factor, length_scale, shape : ndarray, shape (n_terms,)
        Derivatives with respect to each term's log factor, log length scale, and shape.
    """

    def __init__(self, program: Program, G: FloatArray, points: bool, n_threads: int) -> None:
        self.program = program
        terms = program.terms()
        X = program.X
        given = program.given()
        features = program.features(X)
        wanted = [points or m.has_parameters for m in program.maps]
        self._features = [
            np.empty_like(u) if w else None for u, w in zip(features, wanted, strict=True)
        ]
        self._given = [np.empty_like(k) for k in given]
        self.factor, self.length_scale, self.shape = HOST.contract(
            terms, features, given, G, self._features, self._given, n_threads
        )

    def features_gradient(self, term: Term) -> Mapping[str, FloatArray]:
        """Return the derivatives with respect to the logarithms of a feature map's parameters."""
        number = self.program.source(term)
        gradient = self._features[number]
        assert gradient is not None
        return self.program.maps[number].parameters_gradient(self.program.X, gradient)

    def given_gradient(self, term: Term) -> FloatArray:
        """Return the derivatives with respect to the entries of a given matrix."""
        return self._given[self.program.source(term)]

    def theta_gradient(self) -> npt.NDArray[np.float64]:
        """Return the derivatives with respect to theta, (p,)."""
        parts = [np.empty(0)]
        for node in self.program.nodes:
            parts += [np.atleast_1d(g) for g in node.kernel.own_gradient(self, node)]
        return np.concatenate(parts)

    def points_gradient(self) -> FloatArray:
        """Return the derivatives with respect to X, (n, d)."""
        X = self.program.X
        total = np.zeros_like(X)
        for features, gradient in zip(self.program.maps, self._features, strict=True):
            assert gradient is not None
            total += features.points_gradient(X, gradient)
        for number, gradient in enumerate(self._given):
            total += self.program.given_points_gradient(number, gradient)
        return total


def evaluate(
    kernel: Part,
    X: FloatArray,
    Z: FloatArray,
    out: FloatArray,
    n_threads: int,
    engine: Engine = HOST,
) -> None:
    """Write K(X, Z) to `out`, (n, m); all arrays are C-contiguous and of one dtype."""
    program = Program(kernel, X, Z)
    features = program.features(X)
    others = features if Z is X else program.features(Z)
    engine.evaluate(program.terms(), features, others, program.given(), out, n_threads)


def apply(
    kernel: Part,
    X: FloatArray,
    Z: FloatArray,
    C: FloatArray,
    out: FloatArray,
    n_threads: int,
    engine: Engine = HOST,
) -> None:
    """Write K(X, Z) C to `out`, (n, q); all arrays are C-contiguous and of one dtype."""
    program = Program(kernel, X, Z)
    n_rows = max(1, _GIVEN_ENTRIES // max(1, len(Z)))
    if program.has_given and len(X) > n_rows:
        # What users' functions give must not be as large as the matrix that is never formed.
        for first in range(0, len(X), n_rows):
            rows = slice(first, first + n_rows)
            apply(kernel, X[rows], Z, C, out[rows], n_threads, engine)
        return
    engine.apply_terms(
        program.terms(),
        program.features(X),
        program.features(Z),
        program.given(),
        C,
        out,
        n_threads,
    )


def contract(
    kernel: Part, X: FloatArray, G: FloatArray, points: bool, n_threads: int
) -> tuple[npt.NDArray[np.float64], FloatArray | None]:
    """Return dLoss / dtheta, and dLoss / dX if `points`, for a symmetric G = dLoss / dK(X, X).

    X and G are C-contiguous and of float64.
    """
    contraction = Contraction(Program(kernel, X, X), G, points, n_threads)
    return contraction.theta_gradient(), contraction.points_gradient() if points else None
