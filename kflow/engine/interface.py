"""What an engine offers: the arithmetic of flows, of kernel matrices and of losses.

An engine is a folder beside this file whose package has an `ENGINE`, an instance of `Engine`; its
name is that of the folder. An engine that cannot run here, because a library or a device is missing,
raises ImportError when its package is imported, and says why.

These rules hold everywhere below:

- Arrays that go in and come out are NumPy arrays in the memory of this process, except that an engine may take
  arrays of its own device, see `Engine.adopt`. They are C-contiguous, and the caller has checked their shapes, their dtypes and that all values are finite. Arrays of zero
  rows are allowed. An engine need not check anything again.
- "Real" stands for float32 or float64. All real arrays of one call have the same dtype, and so do the
  arrays that it returns. Arrays called targets or `Y`, kernel matrices called `K`, and all arguments of
  losses and of `contract` are of float64. Numbers of rows are of intp, class numbers of intc.
- An argument that a method writes to overlaps no other argument, except where the method says so. All
  other arguments stay as they are.
- The caller may change or free every array after a call, except for those that it gave to
  `Engine.moving_points`, and those that it got back in a `Layer`. An engine keeps its own data between
  two calls wherever it likes.
- `n_threads` is at least 1. It is a limit, and results do not depend on it, to the last bit. Engines
  without threads ignore it.
- The methods of one object are called from one thread at a time. Those of `Engine` itself may be called
  from several threads at once.

Notation: K(X, Z) is the matrix of the values k(x_i, z_j) of a kernel k, for the rows x_i of X and z_j of
Z. In a flow, N points have k coordinates. The first q of them move; the others, of which there are
``n_fixed = k - q``, only count in distances.

`kflow.testing.engines.EngineTests` is the test suite that every engine must pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray, Rows
from kflow.engine.device_array import refuse_elsewhere
from kflow.engine.flows import BatchRunner, MovingPoints
from kflow.engine.means import MeansOperator, MeansParts
from kflow.engine.records import (
    Diverged,
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    NotPositiveDefinite,
    Profile,
    Term,
)
from kflow.engine.scattering import ScatteringFilters, ScatteringOperator
from kflow.engine.variance import VarianceOperator, VarianceParts

__all__ = [
    "BatchRunner",
    "Diverged",
    "Engine",
    "FlowBatch",
    "Layer",
    "LayerOptions",
    "LayerReport",
    "MeansOperator",
    "MeansParts",
    "MovingPoints",
    "NotPositiveDefinite",
    "Profile",
    "ScatteringFilters",
    "ScatteringOperator",
    "Term",
    "VarianceOperator",
    "VarianceParts",
]


class Engine(ABC):
    """The arithmetic of flows, of kernel matrices and of losses; see the rules above.

    Attributes
    ----------
    name : str
        The name of the engine, and of its folder.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def build(self) -> str:
        """On what the last digits of results depend besides the engine, such as the SIMD level."""

    @property
    def identity(self) -> tuple[str, str]:
        """Name and build, which files say of the engine that has computed what they hold."""
        return self.name, self.build

    @property
    def key(self) -> tuple[str, str | None, str]:
        """Name, device if there are several, and precision, for which another process gets such an engine.

        They are the arguments of `kflow.engine.get_engine`. An engine itself is not sent to other
        processes, which may lack what it needs, and have to say so.
        """
        return self.name, None, "float64"

    @abstractmethod
    def lease(self) -> AbstractContextManager[None]:
        """Return a context in which threads stay ready between calls.

        Leases can be nested, and a lease ends in the thread in which it began.
        """

    @abstractmethod
    def all_finite(self, X: npt.NDArray[Any], n_threads: int, largest: float | None = None) -> bool:
        """Return whether an array of real, of any shape, holds no NaN and no infinity.

        If `largest` is given, no number's size may be larger, either, up to rounding.
        """

    # ---- arrays of other libraries ------------------------------------------------------------

    def adopt(self, value: Any, name: str) -> npt.NDArray[Any] | None:
        """Return an array of the engine's device as formulas read it; None for what NumPy reads.

        An engine with a device returns a `kflow.engine.device_array.DeviceArray` of a tensor, or of what
        offers its memory by DLPack. It shares the memory of what was given. The engine then takes such
        arrays for the points of `moving_points`, `replay` and `apply`, and for what these write to. Other
        engines return None.

        Parameters
        ----------
        value : object
            What was given by a user, not checked yet.
        name : str
            Name of the argument, for errors.

        Raises
        ------
        TypeError
            If it is an array on a device that the engine does not compute on.
        ValueError
            If it is a tensor of which derivatives are wanted.
        """
        refuse_elsewhere(value, name)
        return None

    # ---- flows --------------------------------------------------------------------------------

    @abstractmethod
    def moving_points(
        self, sets: Sequence[FloatArray], n_fixed: int, profile: Profile, n_layers: int
    ) -> MovingPoints:
        """Return the points of a flow.

        Parameters
        ----------
        sets : sequence of ndarray of real, shape (n_i, k)
            Coordinates; those of the training points come first. The arrays belong to the engine from
            now on, which may move the points in them.
        n_fixed : int
            How many coordinates, the last ones, do not move; less than k.
        profile : Profile
            The kernel of the flow, a profile of distances.
        n_layers : int
            How many layers the coordinates contain already.
        """

    @abstractmethod
    def batch_runner(self, n_fixed: int, profile: Profile) -> BatchRunner:
        """Return what runs layers on their batches alone.

        Parameters
        ----------
        n_fixed : int
            How many coordinates, the last ones, do not move; less than k.
        profile : Profile
            The kernel of the flow, a profile of distances.
        """

    @abstractmethod
    def replay(
        self, points: FloatArray, layers: Sequence[Layer], profile: Profile, n_threads: int
    ) -> None:
        """Move points, (n, k), through layers, one after the other, in place.

        The centres of all layers are of one shape, and so are the coefficients. What becomes of a point
        does not depend on the other points, nor on how the layers are distributed over calls, to the
        last bit. It is what becomes of the points of a flow with these layers.
        """

    @abstractmethod
    def push_layer_forward(
        self, points: FloatArray, layer: Layer, profile: Profile, T: FloatArray, n_threads: int
    ) -> None:
        """Multiply a direction for each point by the derivative of a layer there, in place.

        Row i of T, (n, k), becomes J t_i, where J is the derivative of
        x -> x + (K(x, centres) coefficients, 0) at row i of `points`, (n, k). The step of the layer is in
        its coefficients already; the attribute `step` is not read. Where a profile has no slope at
        distance 0, it counts as 0.
        """

    @abstractmethod
    def pull_layer_back(
        self, points: FloatArray, layer: Layer, profile: Profile, A: FloatArray, n_threads: int
    ) -> None:
        """Multiply a covector for each point by the transposed derivative of a layer, in place.

        Row i of A, (n, k), becomes J' a_i, with J as in `push_layer_forward`.
        """

    # ---- kernel matrices ----------------------------------------------------------------------

    @abstractmethod
    def gram(
        self, X: FloatArray, Z: FloatArray, profile: Profile, out: FloatArray, n_threads: int
    ) -> None:
        """Write K(X, Z) to `out`.

        X is (n, d), Z (m, d) and `out` (n, m). X and Z may be the same array: then the diagonal is
        exactly 1. The profile is one of distances.
        """

    @abstractmethod
    def apply(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        profile: Profile,
        step: float,
        base: FloatArray | None,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write base + step K(X, Z) C to `out`, or step K(X, Z) C if there is no base.

        X is (n, d), Z (m, d) and C (m, q); `base` and `out` are (n, q). `out` may be `base`, and if q = d
        also X. The profile is one of distances. What becomes of a row does not depend on other rows.
        """

    @abstractmethod
    def pull_back(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        profile: Profile,
        A: FloatArray,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write the gradients of a_i . (K(x_i, Z) C) with respect to x_i to `out`.

        X is (n, d), Z (m, d), C (m, q), A (n, q) and `out` (n, d). Where a profile has no slope at
        distance 0, it counts as 0.
        """

    @abstractmethod
    def evaluate(
        self,
        terms: Sequence[Term],
        X: Sequence[FloatArray],
        Z: Sequence[FloatArray],
        given: Sequence[FloatArray],
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write the values of a composite kernel to `out`, (n, m).

        Parameters
        ----------
        terms : sequence of Term
            The kernel.
        X, Z : sequence of ndarray of real, shapes (n, D_i) and (m, D_i)
            Features of the points, to which a leaf's `source` refers. Both may be the same arrays.
        given : sequence of ndarray of real, shape (n, m)
            The matrices to which the `source` of a given term refers.
        out : ndarray of real, shape (n, m)
            Receives the values.
        n_threads : int
            The largest number of threads.
        """

    @abstractmethod
    def apply_terms(
        self,
        terms: Sequence[Term],
        X: Sequence[FloatArray],
        Z: Sequence[FloatArray],
        given: Sequence[FloatArray],
        C: FloatArray,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write K(X, Z) C of a composite kernel to `out`, where C is (m, q) and `out` (n, q).

        The other arguments are those of `evaluate`.
        """

    @abstractmethod
    def contract(
        self,
        terms: Sequence[Term],
        X: Sequence[FloatArray],
        given: Sequence[FloatArray],
        G: FloatArray,
        features: Sequence[FloatArray | None],
        given_gradients: Sequence[FloatArray],
        n_threads: int,
    ) -> tuple[Doubles, Doubles, Doubles]:
        """Return the derivatives of sum_ij G_ij K_ij by all that a composite kernel depends on.

        Parameters
        ----------
        terms : sequence of Term
            The kernel K = K(X, X).
        X : sequence of ndarray of float64, shape (n, D_i)
            Features of the points.
        given : sequence of ndarray of float64, shape (n, n)
            Given matrices, which are symmetric.
        G : ndarray of float64, shape (n, n)
            A symmetric matrix.
        features : sequence of ndarray of float64 or None, shape (n, D_i)
            Receive the derivatives by the features, for each array of X; None where they are not wanted.
        given_gradients : sequence of ndarray of float64, shape (n, n)
            Receive the derivatives by the entries of the given matrices, one for each.
        n_threads : int
            The largest number of threads.

        Returns
        -------
        factor, length_scale, shape : ndarray of float64, shape (n_terms,)
            Derivatives by the logarithm of each term's factor, by that of each leaf's length scale, and
            by each leaf's alpha. They are 0 where a term has no such parameter.
        """

    @abstractmethod
    def product(self, X: FloatArray, A: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the matrix product X A to `out`: X is (n, d), A (d, q) and `out` (n, q).

        A row of the result depends on that row of X alone, and not on n, to the last bit.
        """

    @abstractmethod
    def solve(self, A: Doubles, Y: FloatArray) -> Doubles:
        """Return A^-1 Y, (n, q), in float64 by a Cholesky factor of A.

        A is (n, n), of float64 and symmetric, and it may be overwritten. Y is (n, q), of float64.

        Raises
        ------
        NotPositiveDefinite
            If A has no factor whose pivots exceed n times the rounding error of its largest entry. Its
            numbers are -1.
        """

    @abstractmethod
    def posterior_means(self, parts: MeansParts) -> MeansOperator:
        """Return posterior means, in the dtype of the parts, which are copied."""

    @abstractmethod
    def posterior_variance(self, parts: VarianceParts) -> VarianceOperator:
        """Return a posterior variance; the parts are copied."""

    @abstractmethod
    def scattering(self, filters: ScatteringFilters) -> ScatteringOperator:
        """Return a scattering transform, in the dtype of the filters, which are copied."""

    # ---- losses -------------------------------------------------------------------------------

    @abstractmethod
    def rho(
        self,
        X: FloatArray,
        Y: FloatArray,
        order: Rows,
        n_coarse: int,
        profile: Profile,
        nugget: float,
        gradient: FloatArray | None,
        n_threads: int,
    ) -> float:
        """Return rho of points; its gradient by them is written to `gradient`.

        Parameters
        ----------
        X : ndarray of float64, shape (n, d)
            Points.
        Y : ndarray of float64, shape (n, n_targets)
            Their targets.
        order : ndarray of intp, shape (n,)
            A permutation of the rows. The first `n_coarse` are the coarse ones.
        n_coarse : int
            How many points are coarse, from 0 to n.
        profile : Profile
            The kernel, a profile of distances.
        nugget : float
            A number that is added to the diagonal of the kernel matrix.
        gradient : ndarray of float64, shape (n, d), or None
            Receives the gradient, by rows of X.
        n_threads : int
            The largest number of threads.

        Raises
        ------
        NotPositiveDefinite
            If the kernel matrix cannot be factorised. Its numbers are positions in `order`.
        """

    @abstractmethod
    def loss(
        self,
        name: str,
        K: FloatArray,
        arguments: Sequence[npt.NDArray[Any] | None],
        gradient: FloatArray | None,
        n_threads: int,
    ) -> float:
        """Return a loss of a kernel matrix; its gradient is written to `gradient`.

        Parameters
        ----------
        name : {"rho", "e2", "lyapunov", "kfold", "nlml", "mmd"}
            The name of the loss. `kflow.losses` has the formulas.
        K : ndarray of float64, shape (n, n)
            The kernel matrix, nugget included; symmetric.
        arguments : sequence of ndarray or None
            The other arguments of the loss: (Y, halves) of "rho" and "e2", (Y, halves, pairs) of
            "lyapunov", (Y, folds) of "kfold", (Y,) of "nlml" and (halves,) of "mmd". Y are targets of
            float64, (n, n_targets); `halves` rows of intp, (n_halves, n_coarse), without repetition in
            a half; `pairs` rows of intp outside each half, (n_halves n_pairs, 2), those of the first
            half first; `folds` the fold of each row, from 0 on, of intp, (n,), or None if each row is
            a fold of its own.
        gradient : ndarray of float64, shape (n, n), or None
            Receives the symmetric matrix G for which the loss changes by sum_ij G_ij dK_ij when K
            changes by a symmetric dK.
        n_threads : int
            The largest number of threads.

        Raises
        ------
        NotPositiveDefinite
            If K, or the part of it that the loss solves with, cannot be factorised. Its numbers are
            rows of K.
        """

    @abstractmethod
    def leave_one_out(
        self,
        K: FloatArray,
        Y: FloatArray,
        residuals: FloatArray,
        variances: FloatArray,
        n_threads: int,
    ) -> None:
        """Write the residuals and the variances of predictions that leave each point out.

        Parameters
        ----------
        K : ndarray of float64, shape (n, n)
            The kernel matrix, nugget included; symmetric.
        Y : ndarray of float64, shape (n, n_targets)
            Targets.
        residuals : ndarray of float64, shape (n, n_targets)
            Receives the targets of each point minus their prediction from all other points.
        variances : ndarray of float64, shape (n, 1)
            Receives the variances of these predictions.
        n_threads : int
            The largest number of threads.

        Raises
        ------
        NotPositiveDefinite
            If K cannot be factorised. Its numbers are rows of K.
        """
