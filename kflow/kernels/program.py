"""Kernels as programs of the core: terms that build on each other, and the features they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import common_dtype
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.engine import HOST
from kflow.engine.interface import Profile
from kflow.engine.interface import Term as EngineTerm
from kflow.engine.threads import resolve_n_threads
from kflow.kernels.base import Kernel, check_kernel
from kflow.kernels.features import FeatureMap, Identity

if TYPE_CHECKING:
    from kflow.kernels.function import FunctionKernel

# Entries of the matrices that users' functions give at a time.
_GIVEN_ENTRIES = 2**21

__all__ = ["Contraction", "Program", "Term", "apply", "contract", "evaluate"]


@dataclass
class Term:
    """What a kernel, or a part of one, has become."""

    kernel: Kernel
    number: int = -1


class Program:
    """A kernel on given points.

    Terms refer to earlier terms by number; the last one emitted is the kernel. Each has a factor.
    Leaves refer to features of the points, or to matrices that a user's function gives.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    X : ndarray, shape (n, d)
        Points.
    Z : ndarray, shape (m, d)
        Other points, or X itself.
    """

    def __init__(self, kernel: Kernel, X: FloatArray, Z: FloatArray) -> None:
        kernel._check_dimension(X.shape[1])
        self.X, self.Z = X, Z
        self.nodes: list[Term] = []
        self._terms: list[dict[str, Any]] = []
        self.maps: list[FeatureMap] = []
        self._given: list[FunctionKernel] = []
        self.emit(kernel)

    # ---- what kernels call --------------------------------------------------------------------

    def emit(self, kernel: Kernel) -> int:
        """Append the terms of a kernel; nodes are in the order of theta."""
        node = Term(kernel)
        self.nodes.append(node)
        node.number = kernel._emit(self)
        return node.number

    def _append(self, **term: Any) -> int:
        self._terms.append({"factor": 1.0, **term})
        return len(self._terms) - 1

    def add_features(self, features: FeatureMap) -> int:
        """Return the number of a feature map. Only maps without parameters are shared."""
        if isinstance(features, Identity) and features in self.maps:
            return self.maps.index(features)
        self.maps.append(features)
        return len(self.maps) - 1

    def centre(self) -> tuple[float, ...]:
        """Return a point among those of the rows."""
        return tuple(self.X.mean(axis=0).tolist()) if len(self.X) else (0.0,) * self.X.shape[1]

    def add_leaf(self, family: str, length_scale: float, features: int, **settings: Any) -> int:
        """Append a function of distances or products of features."""
        profile = Profile(family, length_scale, **settings)
        return self._append(operation="leaf", profile=profile, source=features)

    def add_constant(self) -> int:
        """Append the number one."""
        return self._append(operation="constant")

    def add_given(self, kernel: FunctionKernel) -> int:
        """Append a matrix that a user's function gives."""
        self._given.append(kernel)
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
        return [kernel._given(self.X, self.Z) for kernel in self._given]

    def features(self, points: FloatArray) -> list[FloatArray]:
        """Return the features of points."""
        return [features(points) for features in self.maps]

    @property
    def has_given(self) -> bool:
        """Whether users' functions have a part in the kernel."""
        return bool(self._given)

    def given_kernel(self, number: int) -> FunctionKernel:
        """Return the kernel behind a given matrix."""
        return self._given[number]

    def source(self, term: Term) -> int:
        """Return the number of the features or of the given matrix that a term reads."""
        return int(self._terms[term.number]["source"])


class Contraction:
    """sum_ij G_ij dK_ij for all that K depends on.

    Parameters
    ----------
    program : Program
        The kernel on X.
    G : ndarray, shape (n, n)
        dLoss / dK, symmetric.
    points : bool
        Whether the gradient for the points is wanted.
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
        wanted = [points or not isinstance(m, Identity) for m in program.maps]
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
            parts += [np.atleast_1d(g) for g in node.kernel._own_gradient(self, node)]
        return np.concatenate(parts)

    def points_gradient(self) -> FloatArray:
        """Return the derivatives with respect to X, (n, d)."""
        X = self.program.X
        total = np.zeros_like(X)
        for features, gradient in zip(self.program.maps, self._features, strict=True):
            assert gradient is not None
            total += features.points_gradient(X, gradient)
        for number, gradient in enumerate(self._given):
            total += self.program.given_kernel(number)._points_contraction(X, gradient)
        return total


def evaluate(kernel: Kernel, X: FloatArray, Z: FloatArray, out: FloatArray, n_threads: int) -> None:
    """Write K(X, Z) to `out`, (n, m); all arrays are C-contiguous and of one dtype."""
    program = Program(kernel, X, Z)
    features = program.features(X)
    others = features if Z is X else program.features(Z)
    HOST.evaluate(program.terms(), features, others, program.given(), out, n_threads)


def apply(
    kernel: Kernel,
    X: npt.ArrayLike,
    Z: npt.ArrayLike,
    C: npt.ArrayLike,
    n_threads: int | None,
) -> FloatArray:
    """Return K(X, Z) C; see `Kernel.apply`."""
    threads = resolve_n_threads(n_threads)
    dtype = common_dtype(X, Z, C)
    x = as_matrix(X, "X", dtype=dtype, n_threads=threads)
    z = as_matrix(Z, "Z", dtype=dtype, n_columns=x.shape[1], n_threads=threads)
    c = as_matrix(C, "C", dtype=dtype, n_rows=len(z), n_threads=threads)
    out = np.empty((len(x), c.shape[1]), dtype)
    program = Program(check_kernel(kernel), x, z)
    n_rows = max(1, _GIVEN_ENTRIES // max(1, len(z)))
    if program.has_given and len(x) > n_rows:
        # What users' functions give must not be as large as the matrix that is never formed.
        for first in range(0, len(x), n_rows):
            rows = slice(first, first + n_rows)
            out[rows] = apply(kernel, x[rows], z, c, threads)
        return out
    HOST.apply_terms(
        program.terms(),
        program.features(x),
        program.features(z),
        program.given(),
        c,
        out,
        threads,
    )
    return out


def contract(
    kernel: Kernel, X: npt.ArrayLike, G: npt.ArrayLike, points: bool, n_threads: int | None
) -> tuple[npt.NDArray[np.float64], FloatArray | None]:
    """Return dLoss / dtheta and dLoss / dX; see `Kernel.contract`."""
    threads = resolve_n_threads(n_threads)
    x = as_matrix(X, "X", dtype=np.float64, allow_no_rows=False)
    g = as_matrix(G, "G", dtype=np.float64, n_rows=len(x), n_columns=len(x))
    contraction = Contraction(Program(check_kernel(kernel), x, x), g, points, threads)
    return contraction.theta_gradient(), contraction.points_gradient() if points else None
