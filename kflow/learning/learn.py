"""Parametric kernel flows: a kernel's parameters learned from batches of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import MOST_HALVES, as_choice, as_count, as_flag, as_generator
from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix, as_weights
from kflow.engine import HOST
from kflow.engine.threads import resolve_n_threads
from kflow.errors import LearningWarning
from kflow.kernels import Kernel, check_kernel
from kflow.learning.arguments import as_batch_size, as_callbacks, as_loss, as_rate
from kflow.learning.batches import BatchSource, neighbour_rows, uniform_rows
from kflow.learning.descend import descend
from kflow.learning.minimize import minimize
from kflow.learning.objective import LossFunction, Objective, Parameters, Vector
from kflow.learning.optimizers import RULES
from kflow.learning.priors import Priors
from kflow.learning.result import LearnedKernel, result_of
from kflow.learning.run import Callback, Run
from kflow.learning.warn import warn_caller

__all__ = ["learn_kernel"]

BATCHES = {"uniform": uniform_rows, "neighbours": neighbour_rows}

# The part of the steps over which the loss is averaged to choose the result.
_WINDOW = 0.1


def learn_kernel(
    kernel: Kernel,
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    loss: str | LossFunction = "rho",
    nugget: float = 1e-2,
    learn_nugget: bool = True,
    nugget_bounds: tuple[float, float] = (1e-8, 1e4),
    priors: Mapping[str, tuple[float, float]] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    batch_size: int | None = None,
    batches: str = "uniform",
    n_batches: int = 1,
    n_halves: int = 2,
    n_folds: int = 5,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    n_steps: int = 300,
    n_restarts: int = 0,
    random_state: Any = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = False,
    n_threads: int | None = None,
) -> LearnedKernel:
    """Learn a kernel's parameters, and the nugget, by descent of a loss on random batches.

    Each step draws a batch of the data and evaluates the loss at K(X_b, X_b) + nugget I, with its
    gradient with respect to the logarithms of the free parameters and of the nugget, in which an
    optimizer moves. Losses of different steps are those of different batches: the result is the mean
    of the iterates in the window of steps, a tenth of all, whose mean loss is smallest.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        The kernel to start from. Its free parameters are learned within their bounds; a parameter
        is kept with ``..._bounds="fixed"``.
    X : array_like, shape (N, d)
        Data, computed with in float64. Length scales are in its units: start from length scales that
        are a few times the distance of neighbours, not far less.
    Y : array_like, shape (N,) or (N, m)
        Targets; one-hot rows for classes (`kflow.one_hot`). Kernels without a constant part need
        centred targets.
    loss : str or callable
        One of `kflow.losses`: ``"rho"``, ``"e2"``, ``"loo"``, ``"kfold"``, ``"nlml"``, ``"mmd"``,
        ``"lyapunov"``. Or a function that takes the batch's kernel matrix, nugget included, (n, n),
        and its targets, (n, m), neither of which it may change, and returns a number and its
        derivatives with respect to the matrix, (n, n). It may raise
        ``numpy.linalg.LinAlgError``, to be called again with a larger diagonal.
    nugget : float
        The nugget to start from, or to keep.
    learn_nugget : bool
        Whether to learn it too, by its logarithm.
    nugget_bounds : tuple of float
        Lower and upper bound of a learned nugget.
    priors : mapping of str to (float, float), optional
        Log-normal priors: names of parameters, and for each the median and the standard deviation of the
        logarithm. A name is one of `kernel.parameter_names`, or such a name without the part that it
        belongs to and the number of its dimension: ``{"length_scale": (2.0, 1.0), "nugget": (0.01, 2.0)}``
        is for all length scales of a kernel. Of ``"nlml"`` the result is then the most likely posterior
        parameters, given a batch of all rows; other losses are no log densities, and the priors are a
        penalty, (log p - log median)^2 / (2 spread^2), that is added to their mean over batches.
    sample_weight : array_like, shape (N,), optional
        Positive weights of the rows, 1 by default: the nugget of a row is divided by its weight, as
        the variance of a mean of so many observations is. Squared errors count by the weights of their
        rows.
    batch_size : int, optional
        Rows of a batch, at most N. None: 200, or N if that is less.
    batches : {"uniform", "neighbours"}
        ``"uniform"``: all rows alike. ``"neighbours"``: half of a batch are sqrt(batch_size / 2)
        groups of nearest neighbours, in inputs scaled to unit variance, so that short distances
        occur in it too; the rest is uniform.
    n_batches : int
        Batches whose loss is averaged in a step.
    n_halves : int
        Coarse halves of each batch, in complementary pairs, over which losses that take halves, such
        as rho and e2, are averaged.
    n_folds : int
        Folds of each batch for kfold, drawn anew for each.
    optimizer : {"adam", "sgd", "nesterov", "lbfgs"}
        The first three take a new batch in each step, see `kflow.optimizers`. ``"lbfgs"`` draws
        `n_batches` once and minimises their mean loss by SciPy's L-BFGS-B; the result is its last
        iterate, and the history begins with the start.
    learning_rate : float, optional
        The rate of the first step; it falls to zero along half a cosine. None: 0.2 for adam, about as far as
        logarithms move in a step, 1.0 for sgd and 0.1 for nesterov, whose gradients are shortened
        to length 1.
    n_steps : int
        Steps; for lbfgs the most iterations.
    n_restarts : int
        Further runs, from parameters drawn log-uniformly within a factor 10 of the given ones; those
        that are not logarithms, within 2.3. All see the same batches. The run with the smallest
        mean loss gives the result.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of batches and starts. A given int gives the same result on every run and thread
        count.
    callbacks : iterable of callable
        Each is called with a `LearningState` after every step; a true result ends learning, further
        runs included.
    progress : bool
        Show a progress bar.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Returns
    -------
    LearnedKernel
        The kernel, the nugget, and the history of learning.

    Raises
    ------
    DivergenceError
        If the loss or its gradient is finite nowhere.
    SingularKernelError
        If a batch's matrix is not positive definite even with 1e-4 times its mean diagonal added.
    TypeError, ValueError
        For arguments of the wrong kind, shape or value, naming them.

    Warns
    -----
    BoundsWarning
        If a parameter of the kernel ends at a bound.
    JitterWarning
        If matrices were not positive definite; what their diagonals need, up to the limit above, is
        then added for that step.
    LearningWarning
        If a loss or gradient was not finite: learning then goes back to the last good parameters
        and halves its rate (lbfgs: tries a shorter step, without a warning), and ends a run after
        five such evaluations in succession. And if Y is constant.

    Notes
    -----
    A step costs a kernel matrix, the loss with its gradient (see there; mostly batch_size^3 / 3
    flops for the factorisation and up to six times that), and `Kernel.contract`; nothing depends on
    N but the neighbours.

    There is no device to pass: batches of some hundred rows take as long on a graphics processor as
    its operations take to start. For batches of many thousand rows take `kflow.torch`.

    Scaling kernel and nugget alike changes neither rho nor the predictions, so that rho, e2, loo,
    kfold and lyapunov cannot tell an amplitude of the whole kernel from the nugget: leave one out.

    rho compares half of a batch with all of it; it is not an error of predictions. Its mean is 1/2 at the covariance
    and noise of any Gaussian process, and smaller where the targets are smoother than the kernel
    expects: it finds kernels that need few points, not a process's own, and of noisy data makes
    the nugget large. Noisy data suit it in small batches, of 50 to 200 rows; data without noise may
    want larger ones. To predict, e2, loo, kfold or nlml mostly choose better kernels.

    References
    ----------
    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
    J. Comp. Phys. 389 (2019), 22-47: rho and its descent on batches and halves.

    B. Hamzi and H. Owhadi, Learning dynamical systems from data: a simple cross-validation
    perspective, part I: parametric kernel flows, Physica D 421 (2021), 132817: for time series.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1.0, 1.0, size=(300, 2))
    >>> Y = np.sin(6.0 * X[:, 0]) + 0.1 * rng.normal(size=300)
    >>> start = kflow.kernels.Gaussian((1.0, 1.0))
    >>> learned = kflow.learn_kernel(start, X, Y, loss="e2", random_state=0)
    >>> first, second = learned.kernel.length_scale
    >>> bool(first < 1.0 < second)  # only the first column matters
    True
    """
    check_kernel(kernel)
    threads = resolve_n_threads(n_threads)
    x = as_matrix(X, "X", dtype=np.float64, allow_no_rows=False, n_threads=threads)
    y = as_matrix(Y, "Y", dtype=np.float64, n_rows=len(x), column_if_1d=True, n_threads=threads)
    kernel.check_dimension(x.shape[1])
    weights = as_weights(sample_weight, len(x))
    function, known = as_loss(loss, threads)
    n_folds = as_count(n_folds, "n_folds", 2)
    size = as_batch_size(batch_size, len(x), known, n_folds)
    if known is not None and known.uses_targets and _is_constant(y):
        message = "Y is constant, and all that is learned is how to interpolate a constant"
        warn_user(message, LearningWarning)
    parameters = Parameters(kernel, nugget, as_flag(learn_nugget, "learn_nugget"), nugget_bounds)
    n_batches = as_count(n_batches, "n_batches", 1)
    if size == len(x) and known is not None and not known.subsets:
        n_batches = 1  # all would be the same
    draw_rows = BATCHES[as_choice(batches, "batches", BATCHES)]
    source = BatchSource(
        x,
        y,
        draw_rows(x, size),
        () if known is None else known.subsets,
        n_batches=n_batches,
        n_halves=as_count(n_halves, "n_halves", 1, MOST_HALVES),
        n_folds=n_folds,
    )
    rate = as_rate(learning_rate, optimizer)
    n_steps = as_count(n_steps, "n_steps", 1)
    rng = as_generator(random_state)
    # All runs see the same batches, so that the better start wins and not the luckier one.
    seed = rng.integers(2**63, size=2)
    n_restarts = as_count(n_restarts, "n_restarts", 0)
    starts = [parameters.start, *(parameters.near_start(rng) for _ in range(n_restarts))]
    penalty = Priors(kernel, parameters.learn_nugget, priors) if priors is not None else None
    objective = Objective(parameters, x, y, function, threads, weights, penalty)

    def follow(run: Run, start: Vector) -> None:
        draw = partial(source, np.random.default_rng(seed))
        if optimizer == "lbfgs":
            minimize(run, objective, start, draw(), n_steps)
        else:
            descend(run, objective, start, draw, n_steps, RULES[optimizer], rate)

    listeners = as_callbacks(callbacks)
    n_shown = n_steps * len(starts) if as_flag(progress, "progress") else 0
    runs = _run_all(starts, follow, listeners, n_shown)
    window = 1 if optimizer == "lbfgs" else max(1, round(_WINDOW * n_steps))
    learned = result_of(runs, parameters, window)
    warn_caller(runs, learned.kernel, learned.nugget, parameters.nugget_limits)
    return learned


def _is_constant(Y: FloatArray) -> bool:
    """Return whether all targets are the same. Raise ValueError if they are zeros."""
    if not Y.any():
        raise ValueError("Y is zero everywhere, from which nothing can be learned")
    return bool((Y[0] == Y).all())


def _run_all(
    starts: Sequence[Vector],
    follow: Callable[[Run, Vector], None],
    listeners: Sequence[Callback],
    n_shown: int,
) -> list[Run]:
    """Return a run from each start, until a listener ends learning.

    Parameters
    ----------
    starts : sequence of ndarray
        Where the runs start.
    follow : callable
        ``follow(run, start)`` takes the steps of a run.
    listeners : sequence of callable
        They are called after every step.
    n_shown : int
        Number of steps that a progress bar shows; 0 for none.
    """
    runs = []
    with ExitStack() as stack:
        if n_shown:
            from kflow._base.progress import learning_progress

            show = stack.enter_context(learning_progress(n_shown))
            listeners = (lambda state: show(state.loss), *listeners)
        stack.enter_context(HOST.lease())
        for number, start in enumerate(starts):
            run = Run(number, listeners)
            runs.append(run)
            follow(run, start)
            if run.is_stopped:
                break
    return runs
