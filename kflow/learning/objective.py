"""A loss on batches of the data, as a function of one vector: a kernel's parameters and the nugget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_nugget, as_positive
from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.kernels.function import NonFiniteError
from kflow.kernels.program import contract
from kflow.learning.batches import Batch
from kflow.linear.jitter import jitters
from kflow.operations import gram

__all__ = ["Evaluation", "LossFunction", "Objective", "Parameters", "Vector"]

Vector: TypeAlias = npt.NDArray[np.float64]
LossFunction: TypeAlias = Callable[..., tuple[float, "FloatArray | None"]]


class Parameters:
    """The vector z that is learned: `kernel.theta`, then log(nugget) if the nugget is learned.

    Parameters
    ----------
    kernel : Kernel
        The kernel to start from.
    nugget : float
        The nugget to start from, or to keep.
    learn_nugget : bool
        Whether it is learned.
    nugget_bounds : tuple of float
        Bounds of a learned nugget.

    Attributes
    ----------
    start, lower, upper : ndarray, shape (p,) or (p + 1,)
        The first z, and its bounds.

    Raises
    ------
    TypeError, ValueError
        If there is nothing to learn, or the nugget has no logarithm within its bounds.
    """

    def __init__(
        self,
        kernel: Kernel,
        nugget: float,
        learn_nugget: bool,
        nugget_bounds: tuple[float, float],
    ) -> None:
        self._kernel = kernel
        self._nugget = as_nugget(nugget)
        self.learn_nugget = learn_nugget
        self.start = kernel.theta
        self.n_theta = len(self.start)
        bounds = kernel.bounds
        if learn_nugget:
            self._limits = limits = _as_nugget_bounds(nugget_bounds, self._nugget)
            self.start = np.append(self.start, math.log(self._nugget))
            bounds = np.vstack([bounds, np.log(limits)])
        elif self.n_theta == 0:
            raise ValueError(
                f"nothing to learn: {kernel!r} has no free parameters, and learn_nugget is False"
            )
        self.lower, self.upper = bounds[:, 0].copy(), bounds[:, 1].copy()

    def __call__(self, z: Vector) -> tuple[Kernel, float]:
        """Return the kernel and the nugget that a vector stands for."""
        kernel = self._kernel.clone_with_theta(z[: self.n_theta]) if self.n_theta else self._kernel
        if not self.learn_nugget:
            return kernel, self._nugget
        # exp(log(bound)) may be one rounding outside.
        low, high = self._limits
        return kernel, min(max(math.exp(z[-1]), low), high)

    @property
    def nugget_limits(self) -> tuple[float, float] | None:
        """The bounds of the nugget; None if it is not learned."""
        if not self.learn_nugget:
            return None
        return self._limits

    def near_start(self, rng: np.random.Generator) -> Vector:
        """Draw a vector within the bounds: parameters log-uniform within a factor 10 of the start."""
        decade = math.log(10.0)
        return self.projected(self.start + rng.uniform(-decade, decade, len(self.start)))

    def projected(self, z: Vector) -> Vector:
        """Return the nearest vector within the bounds."""
        return np.minimum(np.maximum(z, self.lower), self.upper)


def _as_nugget_bounds(value: Any, nugget: float) -> tuple[float, float]:
    """Return the bounds of a nugget that lies within them."""
    if nugget == 0.0:
        raise ValueError(
            "nugget=0 has no logarithm, by which nuggets are learned: pass a small positive nugget "
            "to start from, or learn_nugget=False"
        )
    try:
        lower, upper = value
    except (TypeError, ValueError):
        raise TypeError(f"nugget_bounds must be (lower, upper), got {value!r}") from None
    lower, upper = as_positive(lower, "nugget_bounds[0]"), as_positive(upper, "nugget_bounds[1]")
    if not lower <= nugget <= upper:
        raise ValueError(f"nugget={nugget:g} is outside nugget_bounds={value!r}: pass other bounds")
    return lower, upper


class Evaluation(NamedTuple):
    """The value of a loss at one vector z.

    Attributes
    ----------
    value : float
        The loss; NaN if it or its gradient is not finite.
    gradient : ndarray, shape of z
        Its derivatives with respect to z.
    kernel : Kernel
        The kernel for which z stands.
    nugget : float
        The nugget for which z stands.
    jitter : float
        The most that was added to a diagonal besides the nugget.
    """

    value: float
    gradient: Vector
    kernel: Kernel
    nugget: float
    jitter: float


class Objective:
    """Mean of a loss over batches, as a function of z.

    Parameters
    ----------
    parameters : Parameters
        The kernel and nugget for which z stands.
    X : ndarray, shape (N, d), float64
        Data.
    Y : ndarray, shape (N, m), float64
        Targets.
    loss : callable
        ``loss(K, Y, *subsets)`` returns its value and dLoss / dK, as the functions of
        `kflow.losses` do, for the subsets of a `Batch`.
    n_threads : int
        Threads.
    weights : ndarray, shape (N,), float64, optional
        Positive weights of the rows: the nugget of a row is divided by its weight.
    penalty : callable, optional
        ``penalty(z)`` returns what is added to the mean, and its gradient.

    Notes
    -----
    With the roots D of the weights, the loss is that of D K D + nugget I and of D Y. Their residuals
    are D times those of K + nugget W^-1 and of Y: squared errors count by the weights of their rows.
    rho stays the same, and so do likelihoods up to a constant.
    """

    def __init__(
        self,
        parameters: Parameters,
        X: FloatArray,
        Y: FloatArray,
        loss: LossFunction,
        n_threads: int,
        weights: Vector | None = None,
        penalty: Callable[[Vector], tuple[float, Vector]] | None = None,
    ) -> None:
        self.parameters = parameters
        self._penalty = penalty
        self._roots = None if weights is None else np.sqrt(weights)
        self._X, self._Y = X, Y if self._roots is None else self._roots[:, None] * Y
        self._loss = loss
        self._n_threads = n_threads
        # The matrices of all batches use the same memory: new memory costs a page fault for each page.
        self._matrix = np.empty((0, 0))

    def __call__(self, z: Vector, batches: Sequence[Batch]) -> Evaluation:
        """Return the mean over some batches.

        Parameters
        ----------
        z : ndarray
            The vector, within its bounds.
        batches : sequence of Batch
            The batches.

        Raises
        ------
        SingularKernelError
            If a matrix is not positive definite even with the largest jitter.
        """
        kernel, nugget = self.parameters(z)
        total, gradient, most = 0.0, np.zeros(len(z)), 0.0
        for batch in batches:
            value, batch_gradient, jitter = self._on(kernel, nugget, batch)
            total += value
            gradient += batch_gradient
            most = max(most, jitter)
        value = total / len(batches)
        gradient /= len(batches)
        if self._penalty is not None:
            added, slope = self._penalty(z)
            value += added
            gradient += slope
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            value = math.nan
        return Evaluation(value, gradient, kernel, nugget, most)

    def _on(self, kernel: Kernel, nugget: float, batch: Batch) -> tuple[float, Vector, float]:
        """Return the loss on one batch, its gradient, and the jitter that was needed."""
        parameters, n = self.parameters, len(batch.rows)
        x = self._X.take(batch.rows, axis=0)
        y = self._Y.take(batch.rows, axis=0)
        if len(self._matrix) != n:
            self._matrix = np.empty((n, n))
        undefined = math.nan, np.full(len(parameters.start), math.nan)
        try:
            matrix = gram(x, kernel=kernel, out=self._matrix, n_threads=self._n_threads)
        except NonFiniteError:
            return *undefined, 0.0
        if not HOST.all_finite(matrix, self._n_threads):
            return *undefined, 0.0
        products = None
        if self._roots is not None:
            roots = self._roots[batch.rows]
            products = np.outer(roots, roots)
            matrix *= products
        value, G, jitter = self._evaluate(matrix, nugget, y, batch.subsets)
        if not (math.isfinite(value) and HOST.all_finite(G, self._n_threads)):
            return *undefined, jitter
        gradient = np.empty(len(parameters.start))
        if parameters.learn_nugget:
            gradient[-1] = nugget * G.trace()
        if parameters.n_theta:
            if products is not None:
                G *= products
            gradient[: parameters.n_theta] = contract(kernel, x, G, False, self._n_threads)[0]
        return value, gradient, jitter

    def _evaluate(
        self, matrix: FloatArray, nugget: float, y: FloatArray, subsets: Sequence[Any]
    ) -> tuple[float, FloatArray, float]:
        """Return the loss at a kernel matrix plus nugget, dLoss / dK, and the jitter needed."""
        diagonal = matrix.reshape(-1)[:: len(matrix) + 1]
        with_nugget = diagonal + nugget
        scale = float(np.abs(with_nugget).mean())
        for jitter in jitters(scale):
            diagonal[:] = with_nugget + jitter
            try:
                value, G = self._loss(matrix, y, *subsets)
            except np.linalg.LinAlgError as error:  # SingularKernelError is one
                reason = error
            else:
                assert G is not None
                return value, G, jitter
        raise SingularKernelError(
            f"the kernel matrix of a batch of {len(matrix)} rows with nugget={nugget:g} is not "
            f"positive definite, even with {jitter:.1e} added to its diagonal: pass a larger nugget "
            "(or nugget_bounds that keep it larger), or a kernel that is positive definite"
        ) from reason
