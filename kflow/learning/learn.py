"""Parametric kernel flows: a kernel's parameters learned from batches of the data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_flag, as_generator, as_positive
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.engine import HOST
from kflow.engine.threads import resolve_n_threads, single_threaded_blas
from kflow.errors import BoundsWarning, DivergenceError, JitterWarning, LearningWarning
from kflow.kernels import Kernel, check_kernel
from kflow.learning.batches import Batch, BatchSource, neighbour_rows, uniform_rows
from kflow.learning.objective import Evaluation, LossFunction, Objective, Parameters, Vector
from kflow.learning.optimizers import RULES, Rule, cosine_decay
from kflow.losses import functions as losses

__all__ = ["LearnedKernel", "LearningState", "learn_kernel"]

OPTIMIZERS = (*RULES, "lbfgs")
BATCHES = {"uniform": uniform_rows, "neighbours": neighbour_rows}

_BATCH_SIZE = 200
# So many evaluations in succession without a finite loss end a run.
_MAX_FAILURES = 5
# Part of the steps over which the loss is averaged to choose the result.
_WINDOW = 0.1
# How close to a bound, in the logarithm, counts as at it.
_AT_BOUND = 1e-2


@dataclass(frozen=True)
class LearningState:
    """What a callback of `kflow.learn_kernel` is told after a step.

    Attributes
    ----------
    step : int
        Number of the step in its run, from 0 on.
    loss : float
        Loss of the step's batch; NaN if it or its gradient is not finite.
    kernel : kflow.kernels.Kernel
        The kernel that has this loss.
    nugget : float
        The nugget that has it.
    run : int
        0 from the given start, then one more for each restart.
    """

    step: int
    loss: float
    kernel: Kernel
    nugget: float
    run: int


Callback: TypeAlias = Callable[[LearningState], "bool | None"]


@dataclass(frozen=True, eq=False)
class LearnedKernel:
    """Result of `learn_kernel`.

    Attributes
    ----------
    kernel : kflow.kernels.Kernel
        The learned kernel.
    nugget : float
        The learned nugget, or the given one.
    loss : float
        Mean loss of the steps from which they are.
    history : dict of ndarray
        Of each step of the best run: ``loss`` (n_steps,), NaN where it or its gradient was not
        finite, ``theta`` (n_steps, p) and ``nugget`` (n_steps,), where it was taken, and ``jitter``
        (n_steps,), what the diagonal needed besides.
    best_step : int
        The last of the steps from which kernel and nugget are.
    n_steps : int
        Steps of the best run.
    restarts : ndarray, shape (n_restarts + 1,)
        Smallest mean loss of each run, that from the given start first; NaN for a run without a
        finite loss. Fewer if a callback ended learning.
    """

    kernel: Kernel
    nugget: float
    loss: float
    history: dict[str, npt.NDArray[np.float64]] = field(repr=False)
    best_step: int
    n_steps: int
    restarts: npt.NDArray[np.float64] = field(repr=False)


def learn_kernel(
    kernel: Kernel,
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    *,
    loss: str | LossFunction = "rho",
    nugget: float = 1e-2,
    learn_nugget: bool = True,
    nugget_bounds: tuple[float, float] = (1e-8, 1e4),
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
    optimizer moves. The step's loss is that of another batch than the last one's: the result is the
    mean of the iterates in the window of steps, a tenth of all, whose mean loss is smallest.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        The kernel to start from. Its free parameters are learned within their bounds; a parameter
        is kept with ``..._bounds="fixed"``.
    X : array_like, shape (N, d)
        Data, computed with in float64. Length scales are in its units: start from some that are a
        few times the distance of neighbours, not far less.
    Y : array_like, shape (N,) or (N, m)
        Targets; one-hot rows for classes (`kflow.one_hot`). Kernels without a constant part want
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
    batch_size : int, optional
        Rows of a batch, at most N. None: 200, or N if that is less.
    batches : {"uniform", "neighbours"}
        ``"uniform"``: all rows alike. ``"neighbours"``: half of a batch are sqrt(batch_size / 2)
        groups of nearest neighbours, in inputs scaled to unit variance, so that it knows about
        short distances too; the rest is uniform.
    n_batches : int
        Batches whose loss is averaged in a step.
    n_halves : int
        Coarse halves of each batch, in complementary pairs, over which rho, e2, mmd and lyapunov are
        averaged.
    n_folds : int
        Folds of each batch for kfold, drawn anew.
    optimizer : {"adam", "sgd", "nesterov", "lbfgs"}
        The first three take a new batch in each step, see `kflow.optimizers`. ``"lbfgs"`` draws
        `n_batches` once and minimises their mean loss by SciPy's L-BFGS-B; the result is its last
        iterate, and the history begins with the start.
    learning_rate : float, optional
        Of the first step; it falls to zero along half a cosine. None: 0.2 for adam, about as far as
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
        Kernel, nugget, and how they came about.

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

    Scaling kernel and nugget alike changes neither rho nor the predictions, so that rho, e2, loo,
    kfold and lyapunov cannot tell an amplitude of the whole kernel from the nugget: leave one out.

    rho compares half of a batch with all of it, and is no error. Its mean is 1/2 at the covariance
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
    name, function, subsets = _as_loss(loss, threads)
    n_folds = as_count(n_folds, "n_folds", 2)
    size = _as_batch_size(batch_size, len(x), name, n_folds)
    if name not in ("", "mmd"):  # which sees no targets
        _check_targets(y)
    parameters = Parameters(kernel, nugget, as_flag(learn_nugget, "learn_nugget"), nugget_bounds)
    objective = Objective(parameters, x, y, function, threads)
    n_batches = as_count(n_batches, "n_batches", 1)
    if size == len(x) and name and not subsets:
        n_batches = 1  # all would be the same
    if batches not in BATCHES:
        raise ValueError(f"batches must be one of {tuple(BATCHES)}, got {batches!r}")
    source = BatchSource(
        x,
        y,
        BATCHES[batches](x, size),
        subsets,
        n_batches=n_batches,
        n_halves=as_count(n_halves, "n_halves", 1),
        n_folds=n_folds,
    )
    rate = _as_rate(learning_rate, optimizer)
    n_steps = as_count(n_steps, "n_steps", 1)
    rng = as_generator(random_state)
    # All runs see the same batches, so that the better start wins and not the luckier one.
    seed = rng.integers(2**63, size=2)
    n_restarts = as_count(n_restarts, "n_restarts", 0)
    starts = [parameters.start, *(parameters.near_start(rng) for _ in range(n_restarts))]
    listeners = _as_callbacks(callbacks)
    progress = as_flag(progress, "progress")

    runs: list[_Run] = []
    with ExitStack() as stack:
        if progress:
            from kflow._base.progress import learning_progress

            report = stack.enter_context(learning_progress(n_steps * len(starts)))
            listeners = (report, *listeners)
        stack.enter_context(HOST.lease())
        for number, start in enumerate(starts):
            run = _Run(number, listeners)
            runs.append(run)
            draw = partial(source, np.random.default_rng(seed))
            if optimizer == "lbfgs":
                _minimize(run, objective, start, draw(), n_steps)
            else:
                _descend(run, objective, start, draw, n_steps, RULES[optimizer], rate)
            if run.is_stopped:
                break
    window = 1 if optimizer == "lbfgs" else max(1, round(_WINDOW * n_steps))
    learned = _result(runs, parameters, window)
    _warn(runs, learned)
    return learned


# ---- runs ---------------------------------------------------------------------------------------


class _Run:
    """What one run has seen, step by step."""

    def __init__(self, number: int, listeners: Sequence[Callback]) -> None:
        self._number = number
        self._listeners = listeners
        self.points: list[Vector] = []
        self.losses: list[float] = []
        self.jitters: list[float] = []
        self.is_stopped = False  # by a listener
        self.has_given_up = False

    def record(self, z: Vector, evaluation: Evaluation) -> bool:
        """Note a step, tell the listeners, and return whether one of them ends learning."""
        self.points.append(z)
        self.losses.append(evaluation.value)
        self.jitters.append(evaluation.jitter)
        if self._listeners:
            state = LearningState(
                len(self.losses) - 1,
                evaluation.value,
                evaluation.kernel,
                evaluation.nugget,
                self._number,
            )
            for listener in self._listeners:
                self.is_stopped |= bool(listener(state))
        return self.is_stopped

    def best(self, window: int) -> tuple[float, Vector, int] | None:
        """Return the smallest mean loss of a window of steps, their mean point, the last of them.

        Steps without a finite loss are left out; None if there are no others.
        """
        steps = np.flatnonzero(np.isfinite(self.losses))
        if len(steps) == 0:
            return None
        window = min(window, len(steps))
        values = np.array(self.losses)[steps]
        means = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=1)
        first = int(means.argmin())
        chosen = steps[first : first + window]
        point = np.mean([self.points[step] for step in chosen], axis=0)
        return float(means[first]), point, int(chosen[-1])


def _descend(
    run: _Run,
    objective: Objective,
    start: Vector,
    draw: Callable[[], list[Batch]],
    n_steps: int,
    make_rule: Callable[[], Rule],
    rate: float,
) -> None:
    """Follow an update rule, on new batches in each step."""
    rule = make_rule()
    z = last_good = start
    n_failures = 0
    for step in range(n_steps):
        evaluation = objective(z, draw())
        if run.record(z, evaluation):
            return
        if math.isnan(evaluation.value):
            n_failures += 1
            if n_failures == _MAX_FAILURES:
                run.has_given_up = True
                return
            z, rule, rate = last_good, make_rule(), 0.5 * rate
        else:
            n_failures, last_good = 0, z
            step_length = rate * cosine_decay(step, n_steps)
            z = objective.parameters.projected(z - step_length * rule(evaluation.gradient))


class _RunEnds(Exception):
    """Leaves SciPy's minimiser."""


def _minimize(
    run: _Run, objective: Objective, start: Vector, batches: list[Batch], n_steps: int
) -> None:
    """Follow L-BFGS-B, on the same batches in all steps."""
    from scipy.optimize import Bounds, minimize

    parameters = objective.parameters
    z, evaluation = start, objective(start, batches)
    if run.record(z, evaluation):
        return
    if math.isnan(evaluation.value):
        run.has_given_up = True
        return
    # SciPy ends where a value below 1 changes by less than about 1e-9, which squared errors of a
    # good kernel always do: it sees the loss in units of the first one.
    unit = abs(evaluation.value) or 1.0
    worst, n_failures = evaluation.value / unit, 0

    def at(point: Vector) -> Evaluation:
        nonlocal z, evaluation
        if not np.array_equal(point, z):
            z = point.copy()
            evaluation = objective(z, batches)
        return evaluation

    def value_and_gradient(point: Vector) -> tuple[float, Vector]:
        nonlocal worst, n_failures
        value, gradient = at(point)[:2]
        if not math.isnan(value):
            worst, n_failures = max(worst, value / unit), 0
            return value / unit, gradient / unit
        n_failures += 1
        if n_failures == _MAX_FAILURES:
            run.has_given_up = True
            raise _RunEnds
        # The line search takes a shorter step from a value that is worse, but not from infinity.
        return worst + max(1.0, abs(worst)), np.zeros_like(gradient)

    def note(point: Vector) -> None:
        if run.record(point.copy(), at(point)):
            raise _RunEnds

    with suppress(_RunEnds), single_threaded_blas:
        minimize(
            value_and_gradient,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(parameters.lower, parameters.upper),
            callback=note,
            options={"maxiter": n_steps},
        )


def _result(runs: list[_Run], parameters: Parameters, window: int) -> LearnedKernel:
    """Return what the best run learned."""
    bests = [run.best(window) for run in runs]
    values = np.array([math.nan if best is None else best[0] for best in bests])
    if np.isnan(values).all():
        raise DivergenceError(
            "the loss or its gradient is not finite where learning starts: pass another kernel or "
            "nugget to start from, or data of a smaller scale"
        )
    number = int(np.nanargmin(values))
    run, best = runs[number], bests[number]
    assert best is not None
    loss, z, best_step = best
    z = parameters.projected(z)
    kernel, nugget = parameters(z)
    points = np.array(run.points)
    n_theta = parameters.n_theta
    n_steps = len(points)
    history = {
        "loss": np.array(run.losses),
        "theta": points[:, :n_theta],
        "nugget": np.exp(points[:, -1]) if parameters.learn_nugget else np.full(n_steps, nugget),
        "jitter": np.array(run.jitters),
    }
    return LearnedKernel(kernel, nugget, loss, history, best_step, n_steps, values)


def _warn(runs: list[_Run], learned: LearnedKernel) -> None:
    """Warn the caller of `learn_kernel` of what happened in all runs, once of each kind."""
    n_steps = sum(len(run.losses) for run in runs)
    n_undefined = sum(math.isnan(loss) for run in runs for loss in run.losses)
    n_given_up = sum(run.has_given_up for run in runs)
    if n_undefined or n_given_up:
        message = "the loss or its gradient was not finite"
        if n_undefined:
            message += (
                f" in {n_undefined} of {n_steps} steps, after which learning went back to the last "
                "good parameters and halved its rate"
            )
        if n_given_up:
            message += f"; it ended {n_given_up} of {len(runs)} runs before their last step"
        message += ": pass a smaller learning_rate, or bounds that keep parameters from extremes"
        warnings.warn(message, LearningWarning, stacklevel=3)
    jitters = [jitter for run in runs for jitter in run.jitters if jitter > 0.0]
    if jitters:
        message = (
            f"the kernel matrix was not positive definite in {len(jitters)} of {n_steps} steps, "
            f"until at most {max(jitters):.1e} was added to its diagonal: pass a larger nugget, or "
            "nugget_bounds that keep it larger"
        )
        warnings.warn(message, JitterWarning, stacklevel=3)
    kernel = learned.kernel
    theta, bounds = kernel.theta, kernel.bounds
    at_bound = (np.abs(theta[:, None] - bounds) < _AT_BOUND).any(axis=1)
    at_bound &= bounds[:, 0] < bounds[:, 1]
    if at_bound.any():
        names = ", ".join(
            name for name, at in zip(kernel.parameter_names, at_bound, strict=True) if at
        )
        message = (
            f"learning ended at a bound of {names}: pass wider bounds, or 'fixed' ones if the "
            "parameter has no effect there"
        )
        warnings.warn(message, BoundsWarning, stacklevel=3)


# ---- arguments ----------------------------------------------------------------------------------


def _as_loss(loss: Any, n_threads: int) -> tuple[str, LossFunction, tuple[str, ...]]:
    """Return a loss's name, the function, and the names of the subsets that it takes."""
    if not callable(loss):
        known = losses.get_loss(loss)
        return loss, partial(known.function, n_threads=n_threads), known.subsets

    def checked(K: FloatArray, Y: FloatArray) -> tuple[float, FloatArray]:
        shown = K.view()
        shown.flags.writeable = False  # it may have to be tried again with a jitter
        returned = loss(shown, Y)
        try:
            value, G = returned
            value, G = float(value), np.asarray(G, np.float64, order="C")
        except (TypeError, ValueError):
            raise TypeError("loss must return a number and an array, dLoss / dK") from None
        if G.shape != K.shape:
            raise ValueError(f"loss must return dLoss / dK of shape {K.shape}, got {G.shape}")
        return value, 0.5 * (G + G.T)  # K is symmetric: nothing else counts

    return "", checked, ()


def _as_batch_size(value: Any, n: int, loss: str, n_folds: int) -> int:
    """Return the batch size, which must suit the data and the loss."""
    smallest = {"mmd": 4, "lyapunov": 3, "kfold": n_folds}.get(loss, 2)
    fewer = " or a smaller n_folds" if loss == "kfold" else ""
    if n < smallest:
        raise ValueError(
            f"X has {n} row{'s' if n > 1 else ''}, fewer than the {smallest} that learning needs: "
            f"pass more{fewer}"
        )
    if value is None:
        return min(n, _BATCH_SIZE)
    size = as_count(value, "batch_size", 1)
    if size > n:
        raise ValueError(
            f"batch_size={size} exceeds the {n} rows of X: pass batch_size={n} or less"
        )
    if size < smallest:
        raise ValueError(
            f"batch_size={size} is too small for this loss: pass {smallest} or more{fewer}"
        )
    return size


def _as_rate(learning_rate: Any, optimizer: Any) -> float:
    """Return the learning rate of a known optimizer; 0 if it has none."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {OPTIMIZERS}, got {optimizer!r}")
    if optimizer not in RULES:
        if learning_rate is not None:
            raise ValueError(f"optimizer={optimizer!r} takes no learning_rate: leave it out")
        return 0.0
    if learning_rate is None:
        return RULES[optimizer].default_rate
    return as_positive(learning_rate, "learning_rate")


def _as_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    listeners = () if callable(callbacks) else tuple(callbacks)
    if callable(callbacks) or not all(callable(listener) for listener in listeners):
        raise TypeError("callbacks must be a list of functions of a LearningState")
    return listeners


def _check_targets(y: FloatArray) -> None:
    """Raise ValueError for targets of zeros, and warn of other constants."""
    if not y.any():
        raise ValueError("Y is zero everywhere, from which nothing can be learned")
    if (y == y[0]).all():
        message = "Y is constant, and all that is learned is how to interpolate a constant"
        warnings.warn(message, LearningWarning, stacklevel=3)
