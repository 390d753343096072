"""What an engine offers: the arithmetic of flows, of kernel matrices and of losses.

An engine is a folder beside this file whose package has an `ENGINE`, an instance of `Engine`; its
name is that of the folder. Arrays that go in and come out are NumPy arrays, C-contiguous and checked
by the caller; what an engine keeps between two layers of a flow, it keeps where it likes, in its
`MovingPoints`. Results must not depend on the number of threads.

`kflow.testing.EngineTests` holds what every engine must pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray, Rows

__all__ = [
    "BatchRunner",
    "Diverged",
    "Engine",
    "FlowBatch",
    "Layer",
    "LayerOptions",
    "LayerReport",
    "MovingPoints",
    "NotPositiveDefinite",
    "Profile",
    "Term",
]


class NotPositiveDefinite(Exception):
    """A kernel matrix could not be factorised.

    Its two arguments are the positions of two points that coincide, or -1 and -1.
    """


class Diverged(Exception):
    """A layer has moved points to where they are no longer finite."""


class Profile(NamedTuple):
    """A function of one number for each pair of points, of their distance or their product.

    Attributes
    ----------
    family : str
        Its name, such as "gaussian".
    length_scale : float
        By which distances are divided, and products by its square.
    alpha : float
        A second parameter of the families that have one.
    degree : int
        The degree of the families that have one.
    """

    family: str
    length_scale: float
    alpha: float = 1.0
    degree: int = 1


class Term(NamedTuple):
    """A part of a composite kernel; it refers to earlier ones by number, and the last one is all.

    Attributes
    ----------
    operation : {"leaf", "constant", "given", "sum", "product"}
        How its value comes about.
    factor : float
        What the value is multiplied by.
    profile : Profile or None
        Of a leaf.
    source : int
        The features that a leaf reads, or the number of a given matrix.
    left, right : int
        The terms that are added or multiplied.
    """

    operation: str
    factor: float = 1.0
    profile: Profile | None = None
    source: int = -1
    left: int = -1
    right: int = -1


class Layer(NamedTuple):
    """What a layer does to any point x: x[:q] += step K(x, centres) coefficients.

    Attributes
    ----------
    centres : ndarray, shape (m, k)
        Z, the positions of the batch.
    coefficients : ndarray, shape (m, q)
        C, for the coordinates that move; q <= k.
    step : float
        How far the layer moves. It is not multiplied into C, so that a replay does the very
        arithmetic of the run.
    """

    centres: FloatArray
    coefficients: FloatArray
    step: float


class FlowBatch(NamedTuple):
    """The random part of a layer.

    Attributes
    ----------
    rows : ndarray of int, shape (batch_size,)
        Training points, the coarse ones first.
    halves : ndarray of int, shape (n_halves - 1, n_coarse)
        Further coarse subsets, as positions in `rows`.
    n_coarse : int
        How many are coarse.
    """

    rows: Rows
    halves: Rows
    n_coarse: int


class LayerOptions(NamedTuple):
    """How one layer descends; see `kflow.KernelFlow` for the formulas.

    Attributes
    ----------
    nugget : float
        Added to the diagonal of the batch's kernel matrix.
    step : {"relative", "rms", "absolute", "fixed"}
        The step rule.
    step_size : float
        Its parameter p.
    gradient_cap : float
        The longest row of the gradient, in medians of their lengths.
    over_batch : bool
        Whether the step is measured on the batch, not on all training points.
    """

    nugget: float
    step: str
    step_size: float
    gradient_cap: float
    over_batch: bool


class LayerReport(NamedTuple):
    """What is measured in a layer.

    Attributes
    ----------
    rho : float
        The loss before the layer moves anything.
    step : float
        The step that the rule gave.
    class_distance_ratio : float
        Mean squared distance between batch points of one class over that between classes, before
        the layer; NaN without classes.
    """

    rho: float
    step: float
    class_distance_ratio: float


class MovingPoints(ABC):
    """The moving points of a flow: sets of points in the same coordinates, training points first.

    They own what a flow needs between two layers: the displacement of the last layer, its step,
    which may still be pending, and scratch memory. They are right after `settle`.

    Attributes
    ----------
    n_layers : int
        How many layers the points themselves contain.
    """

    n_layers: int

    @abstractmethod
    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer and move all points by it.

        Parameters
        ----------
        number : int
            Of the layer. If the layer before has been run but is not counted by the caller, as its
            error came from elsewhere, the same number comes again, and that layer is forgotten.
        batch : FlowBatch
            Rows of the first set.
        targets : ndarray, shape (N, m)
            Of all points of the first set.
        labels : ndarray of int, shape (N,), or None
            Their classes.
        options : LayerOptions
            How the layer descends.
        n_threads : int
            Threads.

        Raises
        ------
        NotPositiveDefinite, Diverged
            Every position is then the one before the layer.
        """

    @abstractmethod
    def settle(self, n_layers: int, n_threads: int) -> None:
        """Add what is pending, so that the points contain so many layers."""

    @abstractmethod
    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all settled points through layers of one shape that were run elsewhere."""

    @abstractmethod
    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set as they are: not copies, where that is possible."""

    @abstractmethod
    def rest(self) -> None:
        """Give back all memory but that of the settled points, until there is another layer."""


class BatchRunner(ABC):
    """Runs layers on their batches alone, for points that are elsewhere. It owns scratch memory."""

    @abstractmethod
    def layer(
        self,
        positions: FloatArray,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Return the layer that a batch decides at its positions, (N_f, k), which become its centres.

        The targets, (N_f, m), and labels are those of the batch. Only with ``options.over_batch``.

        Raises
        ------
        NotPositiveDefinite, Diverged
            If there is no such layer.
        """


class Engine(ABC):
    """What computes.

    Attributes
    ----------
    name : str
        Of the engine, and of its folder.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def build(self) -> str:
        """What besides the name the last digits of results depend on, such as the SIMD level."""

    @abstractmethod
    def lease(self) -> AbstractContextManager[None]:
        """Keep threads ready between the calls of a run."""

    @abstractmethod
    def all_finite(self, X: npt.NDArray[Any], n_threads: int) -> bool:
        """Return whether there is no NaN and no infinity."""

    # ---- flows --------------------------------------------------------------------------------

    @abstractmethod
    def moving_points(
        self, sets: Sequence[FloatArray], n_fixed: int, profile: Profile, n_layers: int
    ) -> MovingPoints:
        """Return the points of a flow after so many layers.

        Parameters
        ----------
        sets : sequence of ndarray (n_i, k)
            Coordinates, of one dtype, the training points first. The engine may change the arrays.
        n_fixed : int
            How many coordinates, the last ones, do not move.
        profile : Profile
            K_1.
        n_layers : int
            How many layers they contain.
        """

    @abstractmethod
    def batch_runner(self, n_fixed: int, profile: Profile) -> BatchRunner:
        """Return what runs layers on their batches alone.

        Parameters
        ----------
        n_fixed : int
            How many coordinates, the last ones, do not move.
        profile : Profile
            K_1.
        """

    @abstractmethod
    def replay(
        self, points: FloatArray, layers: Sequence[Layer], profile: Profile, n_threads: int
    ) -> None:
        """Move points, (n, k), through layers of one shape, in place."""

    @abstractmethod
    def push_layer_forward(
        self, points: FloatArray, layer: Layer, profile: Profile, T: FloatArray, n_threads: int
    ) -> None:
        """Multiply a direction for each point, (n, k), by the layer's derivative, in place.

        The layer's step is in its coefficients already.
        """

    @abstractmethod
    def pull_layer_back(
        self, points: FloatArray, layer: Layer, profile: Profile, A: FloatArray, n_threads: int
    ) -> None:
        """Multiply a covector for each point, (n, k), by the transposed derivative, in place.

        The layer's step is in its coefficients already.
        """

    # ---- kernel matrices ----------------------------------------------------------------------

    @abstractmethod
    def gram(
        self, X: FloatArray, Z: FloatArray, profile: Profile, out: FloatArray, n_threads: int
    ) -> None:
        """Write K(X, Z) to `out`, (n, m)."""

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
        """Write base + step K(X, Z) C to `out`, (n, q); without base, step K(X, Z) C."""

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
        """Write the gradients of a_i . (K(x_i, Z) C) with respect to x_i to `out`, (n, d)."""

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
        """Write a composite kernel of features of X and Z to `out`, (n, m)."""

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
        """Write K(X, Z) C of a composite kernel to `out`, (n, q)."""

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
        """Return sum_ij G_ij dK_ij for each term's log factor, log length scale and shape.

        The gradients by the features and by the given matrices are written to the last two lists.
        """

    @abstractmethod
    def product(self, X: FloatArray, A: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the matrix product X A to `out`."""

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
        """Return rho of points, the first `n_coarse` rows of `order` being coarse.

        Its gradient by the points is written to `gradient`. Raises NotPositiveDefinite, whose
        numbers are positions in `order`.
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
        """Return a loss of a kernel matrix; dLoss / dK is written to `gradient`, (n, n).

        Parameters
        ----------
        name : {"rho", "e2", "lyapunov", "kfold", "nlml", "mmd"}
            Which one.
        K : ndarray, shape (n, n)
            The kernel matrix.
        arguments : sequence of ndarray or None
            What that loss takes besides, in the order of `kflow.losses`.
        gradient : ndarray, shape (n, n), or None
            Where the gradient goes.
        n_threads : int
            Threads.

        Raises
        ------
        NotPositiveDefinite
            If K cannot be factorised.
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
        """Write the residuals, (n, m), and variances, (n,), of leaving each point out."""
