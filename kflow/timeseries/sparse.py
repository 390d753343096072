"""Sparse kernel flows: which of many kernels a system needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow import losses
from kflow._base.arguments import (
    MOST_HALVES,
    as_count,
    as_flag,
    as_generator,
    as_nugget,
    as_number,
    as_positive,
)
from kflow._base.array_types import FloatArray
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import as_matrix
from kflow.engine.threads import resolve_n_threads
from kflow.kernels import Kernel, Scaled, Sum, check_kernel
from kflow.kernels.parameters import DEFAULT_BOUNDS
from kflow.learning import learn_kernel
from kflow.learning.batches import BatchSource, uniform_rows
from kflow.timeseries.sparse_weights import MeanLoss, WeightedLoss, minimise

__all__ = ["SparseKernel", "learn_sparse_kernel"]


@dataclass(frozen=True, eq=False, repr=False)
class SparseKernel(ShortRepr):
    """Result of `learn_sparse_kernel`.

    Attributes
    ----------
    kernel : kflow.kernels.Kernel
        The sum of the survivors, each times its weight over its mean diagonal.
    weights : ndarray, shape (q,)
        Weights of all kernels: not negative, of sum 1, most of them zero.
    survivors : tuple of int
        Numbers of the kernels whose weight is not zero, in falling order of their weights.
    nugget : float
        The nugget that belongs to `kernel`.
    loss : float
        Mean loss on the batches of the last round, without the penalty.
    history : dict of ndarray
        For each step of the weights: ``loss`` (n_steps,), ``weights`` (n_steps, q), and ``round``
        (n_steps,), the number of its round: 0 without penalty, then 1, 2, ... Each round has its own
        batches.
    """

    kernel: Kernel
    weights: FloatArray
    survivors: tuple[int, ...]
    nugget: float
    loss: float
    history: dict[str, npt.NDArray[Any]] = field(repr=False)


def learn_sparse_kernel(
    kernels: Iterable[Kernel],
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    loss: str = "rho",
    penalty: float = 0.01,
    nugget: float = 1e-4,
    learn: bool = True,
    learn_options: Mapping[str, Any] | None = None,
    n_rounds: int = 2,
    batch_size: int = 200,
    n_batches: int = 4,
    n_halves: int = 4,
    n_folds: int = 5,
    tolerance: float = 1e-5,
    max_steps: int = 500,
    random_state: int | np.random.Generator | None = None,
    n_threads: int | None = None,
) -> SparseKernel:
    """Learn a sum of few kernels: K = sum_i w_i k_i / mean k_i(x, x), w >= 0, sum w = 1.

    Minimises loss + penalty (1 - max w) over the weights, in turn with the loss over the parameters
    of the kernels that have a weight.

    Parameters
    ----------
    kernels : iterable of Kernel
        The k_i, such as `dictionary` gives.
    X : array_like, shape (n, d)
        Points, such as rows of `delay_embedding`, scaled to suit the kernels.
    Y : array_like, shape (n,) or (n, m)
        The values to learn, one row for each point.
    loss : str
        Name of a loss of `kflow.losses`. It is divided by its unit, see `kflow.losses.Loss`: e2, loo and
        kfold by the sum of squares of the batch's targets, nlml by their number.
    penalty : float
        The amount, per unit of weight, by which a kernel must lower the loss to get a weight; 0 or
        more. The kernel with the largest weight is exempt.
    nugget : float
        Added to the diagonal of K, whose mean is 1.
    learn : bool
        Whether the kernels' own parameters are learned too, by `kflow.learn_kernel`.
    learn_options : mapping or None
        Further arguments of `kflow.learn_kernel`, such as ``{"n_steps": 500}``. Unless they say
        otherwise, the nugget is not learned, and batches have `batch_size` rows.
    n_rounds : int
        Number of rounds. Each learns the parameters of the kernels that have a weight, and then the
        weights of all kernels. Without `learn` there is one.
    batch_size : int
        Number of rows of a batch; all rows if there are fewer.
    n_batches : int
        Number of batches of a round, over which the loss is averaged.
    n_halves, n_folds : int
        Number of coarse halves, or of folds, of each batch, as the loss takes them.
    tolerance : float
        The weights of a round are done when a gradient step of length 1 changes none by more.
    max_steps : int
        Largest number of steps of a round.
    random_state : None, int or numpy.random.Generator
        Source of the batches.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Returns
    -------
    SparseKernel

    Raises
    ------
    SingularKernelError
        If the kernel matrix of a batch is numerically singular at the first weights.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them.

    Notes
    -----
    rho hardly changes when K is multiplied by a number, and not at all without a nugget, so that the
    L1 norm of the weights as a penalty would do no more than shrink them all. Here their sum is
    fixed, and what is penalised is the L1 norm of all but the largest. That is concave, so each step
    takes its tangent; a spectral projected gradient step (Birgin, Martinez and Raydan, SIAM J.
    Optim. 10 (2000)) on the exact projection makes weights exactly zero. Before the first round the
    loss is minimised without penalty, so that the start does not decide which weight is the largest.

    Where a kernel is singular by itself, as kernels of low rank are, other kernels keep tiny weights
    beside it, which cost next to nothing, whatever the penalty.

    A step of the weights costs n_batches factorisations and q batch_size^2 multiplications for
    each; 8 q n_batches batch_size^2 bytes hold the kernels' matrices.

    L. Yang, X. Sun, B. Hamzi, H. Owhadi and N. Xie, Learning dynamical systems from data: a simple
    cross-validation perspective, part V: sparse kernel flows, arXiv:2301.10321, for the idea.

    Examples
    --------
    >>> import kflow
    >>> from kflow.timeseries import delay_embedding, henon_map, learn_sparse_kernel
    >>> X, Y = delay_embedding(henon_map(200), 1)
    >>> candidates = [kflow.kernels.Polynomial(), kflow.kernels.Laplacian()]
    >>> learn_sparse_kernel(candidates, X, Y, learn=False, random_state=0).survivors
    (0,)
    """
    threads = resolve_n_threads(n_threads)
    x, y = _as_data(X, Y, threads)
    known = losses.get_loss(loss)
    price = as_number(penalty, "penalty")
    if price < 0.0:
        raise ValueError(f"penalty must not be negative, got {price:g}")
    nugget = as_nugget(nugget)
    n_rounds = as_count(n_rounds, "n_rounds", 1) if as_flag(learn, "learn") else 1
    size = min(as_count(batch_size, "batch_size", 2), len(x))
    n_batches, n_halves = (
        as_count(n_batches, "n_batches", 1),
        as_count(n_halves, "n_halves", 1, MOST_HALVES),
    )
    options = {"learn_nugget": False, "batch_size": size, **_as_options(learn_options)}
    n_folds = min(as_count(n_folds, "n_folds", 2), size)
    options = {"n_folds": n_folds, **options, "loss": loss, "n_threads": threads}
    if size == len(x):  # the batches would differ in nothing but their halves
        n_batches, n_halves = 1, n_batches * n_halves
    accuracy = as_positive(tolerance, "tolerance")
    most = as_count(max_steps, "max_steps", 1)
    rng = as_generator(random_state)

    draw_batches = BatchSource(
        x,
        y,
        uniform_rows(x, size),
        known.subsets,
        n_batches=n_batches,
        n_halves=n_halves,
        n_folds=n_folds,
    )
    function = partial(known.function, n_threads=threads)
    parts = _as_kernels(kernels, x.shape[1])
    scales = _mean_diagonals(parts, x)
    states: list[WeightedLoss] = []
    rounds: list[int] = []

    def find_weights(weights: FloatArray, penalty: float, number: int) -> FloatArray:
        average = MeanLoss(parts, scales, nugget, x, y, draw_batches(rng), function, known.unit)
        steps = minimise(average, weights, penalty, accuracy, most)
        states.extend(steps)
        rounds.extend([number] * len(steps))
        return steps[-1].weights

    weights = find_weights(np.full(len(parts), 1.0 / len(parts)), 0.0, 0)
    for number in range(1, n_rounds + 1):
        if learn:
            parts, nugget = _learn_parts(parts, weights / scales, nugget, x, y, options, rng)
            before, scales = scales, _mean_diagonals(parts, x)
            weights = weights * scales / before
            weights /= weights.sum()
        weights = find_weights(weights, price, number)

    return _result(parts, weights, scales, nugget, states, rounds)


def _result(
    kernels: list[Kernel],
    weights: FloatArray,
    scales: FloatArray,
    nugget: float,
    states: list[WeightedLoss],
    rounds: list[int],
) -> SparseKernel:
    """Return the sum of the kernels that have a weight, and the history of the weights."""
    survivors = tuple(int(i) for i in np.argsort(-weights, kind="stable") if weights[i] > 0.0)
    history = {
        "loss": np.array([state.loss for state in states]),
        "weights": np.array([state.weights for state in states]),
        "round": np.array(rounds),
    }
    kernel = _combined([kernels[i] for i in survivors], (weights / scales)[list(survivors)])
    return SparseKernel(kernel, weights, survivors, nugget, states[-1].loss, history)


def _mean_diagonals(kernels: list[Kernel], X: FloatArray) -> FloatArray:
    """Return the mean of k(x, x) over X for each kernel."""
    means = np.array([float(kernel.diag(X).mean()) for kernel in kernels])
    for i, mean in enumerate(means):
        if not (np.isfinite(mean) and mean > 0.0):
            raise ValueError(
                f"kernels[{i}], {kernels[i]!r}, has mean diagonal {mean:g} on X, and cannot be "
                "weighed: leave it out"
            )
    return means


def _combined(kernels: list[Kernel], amplitudes: FloatArray, *, fixed: bool = False) -> Kernel:
    """Return sum_i a_i k_i, its amplitudes fixed or within wide bounds."""
    parts: list[Kernel] = []
    for kernel, amplitude in zip(kernels, amplitudes.tolist(), strict=True):
        lower, upper = DEFAULT_BOUNDS
        bounds = (min(lower, 1e-3 * amplitude), max(upper, 1e3 * amplitude))
        parts.append(Scaled(kernel, amplitude, amplitude_bounds="fixed" if fixed else bounds))
    return parts[0] if len(parts) == 1 else Sum(tuple(parts))


def _learn_parts(
    kernels: list[Kernel],
    amplitudes: FloatArray,
    nugget: float,
    X: FloatArray,
    Y: FloatArray,
    options: dict[str, Any],
    rng: np.random.Generator,
) -> tuple[list[Kernel], float]:
    """Return the kernels with parameters learned where they have an amplitude, and the nugget."""
    present = [i for i, amplitude in enumerate(amplitudes) if amplitude > 0.0]
    together = _combined([kernels[i] for i in present], amplitudes[present], fixed=True)
    if len(together.theta) == 0 and not options["learn_nugget"]:
        return kernels, nugget
    learned = learn_kernel(together, X, Y, nugget=nugget, random_state=rng, **options)
    # The amplitudes are fixed: theta is that of the parts, one after the other.
    theta = learned.kernel.theta
    result, start = list(kernels), 0
    for i in present:
        end = start + len(kernels[i].theta)
        result[i] = kernels[i].clone_with_theta(theta[start:end])
        start = end
    return result, learned.nugget


def _as_data(X: npt.ArrayLike, Y: npt.ArrayLike, n_threads: int) -> tuple[FloatArray, FloatArray]:
    """Return points and targets, at least two rows of them."""
    x = as_matrix(X, "X", dtype=np.float64, allow_no_rows=False, n_threads=n_threads)
    y = as_matrix(Y, "Y", dtype=np.float64, n_rows=len(x), column_if_1d=True, n_threads=n_threads)
    if len(x) < 2:
        raise ValueError("X has 1 row, fewer than the 2 that a half and its batch need: pass more")
    if not y.any():
        raise ValueError("Y is zero everywhere, from which nothing can be learned")
    return x, y


def _as_kernels(kernels: Any, d: int) -> list[Kernel]:
    """Return a list of at least two kernels, which can take points in d dimensions."""
    if isinstance(kernels, Kernel):
        raise TypeError("kernels must be a list of kernels, got one: pass its parts")
    parts = [check_kernel(kernel) for kernel in kernels]
    if len(parts) < 2:
        raise ValueError(f"kernels must be at least two, got {len(parts)}")
    for kernel in parts:
        kernel.check_dimension(d)
    return parts


def _as_options(options: Any) -> dict[str, Any]:
    """Return the further arguments of `learn_kernel`."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(f"learn_options must be a mapping, got {type(options).__name__}")
    for name in ("loss", "nugget", "random_state", "n_threads"):
        if name in options:
            raise ValueError(f"learn_options: {name!r} is an argument of its own")
    return dict(options)
