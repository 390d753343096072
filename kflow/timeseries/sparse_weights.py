"""The weights of sparse kernel flows: a projected gradient method on the simplex."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel
from kflow.learning.batches import Batch
from kflow.learning.objective import LossFunction
from kflow.linear.simplex import onto_simplex

__all__ = ["MeanLoss", "WeightedLoss", "minimise"]

# A step as short as this changes no digit of the weights.
_SHORTEST = 1e-14


class WeightedLoss(NamedTuple):
    """The mean loss at some weights, and its gradient with respect to them."""

    weights: FloatArray
    loss: float
    gradient: FloatArray


class MeanLoss:
    """Mean of a loss over some batches as a function of the weights."""

    def __init__(
        self,
        kernels: list[Kernel],
        scales: FloatArray,
        nugget: float,
        X: FloatArray,
        Y: FloatArray,
        batches: list[Batch],
        function: LossFunction,
        unit: Callable[[FloatArray], float],
    ) -> None:
        self._nugget, self._function, self._batches = nugget, function, batches
        # The kernels' parameters stay as they are.
        self._matrices = [
            np.stack([k(X[batch.rows]) / s for k, s in zip(kernels, scales, strict=True)])
            for batch in batches
        ]
        self._targets = [Y[batch.rows] for batch in batches]
        self._units = [unit(y) for y in self._targets]

    def __call__(self, weights: FloatArray) -> WeightedLoss:
        """Return the loss and dLoss / dw_i = sum_jk G_jk (K_i)_jk."""
        total, gradient = 0.0, np.zeros(len(weights))
        for batch, matrices, y, unit in zip(
            self._batches, self._matrices, self._targets, self._units, strict=True
        ):
            # Not by BLAS, whose results depend on its threads.
            K = np.einsum("q,qjk->jk", weights, matrices)
            K.flat[:: len(K) + 1] += self._nugget
            value, G = self._function(K, y, *batch.subsets)
            assert G is not None
            total += value / unit
            gradient += np.einsum("qjk,jk->q", matrices, G) / unit
        n = len(self._batches)
        return WeightedLoss(weights, total / n, gradient / n)


def _slope(state: WeightedLoss, penalty: float) -> FloatArray:
    """Return the gradient of loss + penalty (1 - max w), a tangent of the concave second term."""
    largest = np.flatnonzero(state.weights == state.weights.max())
    slope = state.gradient.copy()
    slope[largest[np.argmin(slope[largest])]] -= penalty
    return slope


def minimise(
    average: MeanLoss, weights: FloatArray, penalty: float, tolerance: float, max_steps: int
) -> list[WeightedLoss]:
    """Minimise loss + penalty (1 - max w) on the simplex, and return the losses of all iterates.

    Parameters
    ----------
    average : MeanLoss
        The loss.
    weights : ndarray, shape (q,)
        Where to start.
    penalty : float
        Factor of the penalty.
    tolerance : float
        The iteration ends when a gradient step of length 1 changes no weight by more.
    max_steps : int
        Largest number of steps.
    """
    states = [average(weights)]
    length = 1.0
    for _ in range(max_steps):
        state = states[-1]
        slope = _slope(state, penalty)
        nearby = _projected(state.weights - slope)
        if np.abs(nearby - state.weights).max() <= tolerance:
            if ((nearby == 0.0) & (state.weights > 0.0)).any():  # tiny weights become zero
                with suppress(SingularKernelError):
                    states.append(average(nearby))
            break
        while length > _SHORTEST:
            new = _projected(state.weights - length * slope)
            step = new - state.weights
            bound = state.loss + state.gradient @ step + step @ step / (2.0 * length)
            try:
                following = average(new)
            except SingularKernelError:  # a kernel alone may be of low rank
                length *= 0.5
                continue
            if following.loss <= bound:
                break
            length *= 0.5
        else:
            break
        states.append(following)
        # The inverse of the curvature along the step, where there is one.
        bend = float(step @ (following.gradient - state.gradient))
        length = float(step @ step) / bend if bend > 0.0 else 4.0 * length
        length = min(max(length, _SHORTEST), 1e6)
    return states


def _projected(weights: FloatArray) -> FloatArray:
    return np.asarray(onto_simplex(weights[None, :])[0])
