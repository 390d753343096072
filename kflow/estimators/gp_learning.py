"""How the kernel and the nugget of a Gaussian process are learned: the loss, bounds, and a choice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from kflow._base.array_types import Doubles
from kflow._base.warn import warn_user
from kflow.errors import BoundsWarning, DivergenceError, SingularKernelError
from kflow.estimators.gp_solvers import ScaledRows, drawn_rows
from kflow.kernels import Kernel, Linear, Matern52, RationalQuadratic
from kflow.kernels.base import Scaled, Sum
from kflow.learning import LearnedKernel, learn_kernel
from kflow.learning.nugget import leave_one_out_nugget
from kflow.linear.factor import Factor
from kflow.losses import LOSSES

__all__ = ["KernelSearch", "default_kernel", "flexible_kernel", "leave_one_out_densities"]

# The losses that "auto" tries. The second is taken if its densities are larger by so many standard errors.
_TRIED, _SIGNIFICANT = ("e2", "nlml"), 3.0

# The priors of "map", as long as no others are given: the median of the length scales, in units of the
# root of the number of columns, and the spread of their logarithms. Chosen among (2, 1), (3, 1.7) and
# (1.5, 0.7) on the sets of part A of `bench/gp_tables.py`, others of pydataset, and functions.
_MEDIAN, _SPREAD = 2.0, 1.0

# The least nugget where matrices are factored, and where conjugate gradients take more iterations,
# the smaller it is, or the amplitude, next to which it is smaller still, is learned too.
_LEAST, _LEAST_OTHERWISE = 1e-12, 1e-8

# The largest nugget: there is nothing but noise.
_LARGEST = 1e4

_Trial: TypeAlias = Callable[[ScaledRows, np.random.Generator], LearnedKernel]


@dataclass(frozen=True)
class KernelSearch:
    """What is learned from scaled rows, and how.

    Attributes
    ----------
    learn : str or callable
        A loss of `kflow.learn_kernel`, "auto" or "map".
    kernel : Kernel or None
        The kernel to start from; None: a Matern 5/2 with a length scale for each column, or
        `flexible_kernel` with "map".
    nugget : float
        The nugget to start from.
    nugget_bounds : tuple of float, or None
        Its bounds; None: what the loss and the solver allow.
    learn_nugget : bool
        Whether the nugget is learned.
    is_factored : bool
        Whether the matrix of all rows is factored.
    batch_size, n_folds : int
        Options of `kflow.learn_kernel`, at most the number of rows.
    options : mapping
        Its other options.
    is_default : bool
        Whether the kernel is no choice of the user's, who cannot be told of its bounds.
    """

    learn: Any
    kernel: Kernel | None
    nugget: float
    nugget_bounds: tuple[float, float] | None
    learn_nugget: bool
    is_factored: bool
    batch_size: int
    n_folds: int
    options: Mapping[str, Any]
    is_default: bool = False

    def __post_init__(self) -> None:
        """Check the loss."""
        known = ("auto", *LOSSES, "map")
        if isinstance(self.learn, str) and self.learn not in known:
            raise ValueError(f"learn must be one of {known}, got {self.learn!r}")

    def __call__(self, data: ScaledRows, rng: np.random.Generator) -> LearnedKernel:
        """Return what is learned.

        With "auto" the kernel is learned by e2 and, if the matrix of all rows is factored, by the
        likelihood. The latter's is returned if with it the leave-one-out predictions of a batch of rows
        have clearly larger densities. With "map" it is learned by the likelihood and priors.

        Raises
        ------
        DivergenceError, SingularKernelError
            As `kflow.learn_kernel`; with "auto", if neither loss can be lowered.
        """
        if self.learn == "map":
            return self._most_probable(data, rng)
        if self.learn == "auto" and not self.is_factored:
            # The likelihood's nuggets, next to its amplitudes, are too small for conjugate gradients.
            return self._by(_TRIED[0], data, rng)
        if self.learn == "auto":
            trials = [partial(self._by, loss) for loss in _TRIED]
            return self._chosen(trials, data, rng, _SIGNIFICANT)
        if self.learn == "rho" and self.learn_nugget:
            # Neither is better everywhere.
            trials = [partial(self._by_rho, learn_nugget=learnt) for learnt in (True, False)]
            return self._chosen(trials, data, rng, 0.0)
        return self._by(self.learn, data, rng)

    def _chosen(
        self,
        trials: Sequence[_Trial],
        data: ScaledRows,
        rng: np.random.Generator,
        significant: float,
    ) -> LearnedKernel:
        """Return what the first of some ways of learning finds, or what a better one does.

        Better is whose leave-one-out densities are larger by so many standard errors. Warnings are those
        of the chosen one.
        """
        some = data[drawn_rows(rng, len(data), self.batch_size)]
        found: LearnedKernel | None = None
        best, issued, failure = np.zeros(1), [], None
        for trial, generator in zip(trials, rng.spawn(len(trials)), strict=True):
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    learned = trial(data, generator)
            except (DivergenceError, SingularKernelError) as error:
                failure = error
                continue
            densities = leave_one_out_densities(
                learned.kernel, learned.nugget, some, self.options["n_threads"]
            )
            if found is None or _is_larger(densities, best, significant):
                best, found, issued = densities, learned, caught
        if found is None:
            assert failure is not None
            raise failure
        for warning in issued:
            warn_user(str(warning.message), warning.category)
        return found

    def _most_probable(self, data: ScaledRows, rng: np.random.Generator) -> LearnedKernel:
        """Return the kernel and the nugget of the largest posterior density."""
        d = data.points.shape[1]
        kernel = flexible_kernel(d) if self.kernel is None else self.kernel
        # More batches cost time in proportion: with 2250 rows, one came within 2 % of the noise.
        options = {**self.options, "n_batches": 1}
        if options.get("priors") is None:
            named = {name.rpartition("__")[2].partition("[")[0] for name in kernel.parameter_names}
            lengths = named & {"length_scale"}
            options["priors"] = dict.fromkeys(lengths, (_MEDIAN * math.sqrt(d), _SPREAD))
        is_default = self.kernel is None or self.is_default
        search = replace(self, learn="nlml", kernel=kernel, options=options, is_default=is_default)
        return search(data, rng)

    def _by(
        self,
        loss: Any,
        data: ScaledRows,
        rng: np.random.Generator,
        *,
        largest: float = math.inf,
        learn_nugget: bool | None = None,
    ) -> LearnedKernel:
        """Return what is learned by one loss, with a nugget up to `largest`."""
        n, d = data.points.shape
        low, high = self._bounds(loss, n)
        bounds = low, max(low, self.nugget, min(high, largest))
        nugget = self.nugget
        if self.nugget_bounds is None and nugget > 0.0:
            nugget = min(max(nugget, bounds[0]), bounds[1])
        batch_size = min(self.batch_size, n)
        targets = data.targets
        if loss == "nlml" and targets.any():
            # To the likelihood, an output that is 0 everywhere is evidence; errors do not see it.
            targets = targets[:, targets.any(axis=0)]
        with warnings.catch_warnings():
            if self.kernel is None or self.is_default:
                # What has no effect on y, such as a column or the linear part, goes to a bound.
                warnings.filterwarnings("ignore", "learning .* bound of (?!the nug)", BoundsWarning)
            if largest < math.inf:
                warnings.filterwarnings("ignore", "learning .* bound of the nug", BoundsWarning)
            return learn_kernel(
                self._start(loss, d),
                data.points,
                targets,
                loss=loss,
                nugget=nugget,
                learn_nugget=self.learn_nugget if learn_nugget is None else learn_nugget,
                nugget_bounds=bounds,
                sample_weight=data.weights,
                batch_size=batch_size,
                n_folds=min(self.n_folds, batch_size),
                random_state=rng,
                **self.options,
            )

    def _by_rho(
        self, data: ScaledRows, rng: np.random.Generator, *, learn_nugget: bool
    ) -> LearnedKernel:
        """Return a kernel learned by rho, with the nugget that has the least leave-one-out errors.

        rho compares interpolants; it goes on to fall where noise takes over. With a nugget of its own the
        noise may not be more than the signal. The other way, the nugget stays as given meanwhile.
        """
        kernel = self._start("rho", data.points.shape[1])
        signal = float(np.mean(kernel.diag(data.points)))
        learned = self._by("rho", data, rng, largest=signal, learn_nugget=learn_nugget)
        some = data[drawn_rows(rng, len(data), self.batch_size)]
        nugget = leave_one_out_nugget(
            learned.kernel,
            some.points,
            some.targets,
            self._bounds("rho", len(data)),
            weights=some.weights,
            n_threads=self.options["n_threads"],
        )
        return replace(learned, nugget=nugget)

    def _start(self, loss: Any, d: int) -> Kernel:
        """Return the kernel that learning starts from; the likelihood needs an amplitude."""
        if self.kernel is not None:
            if loss == "nlml" and self.learn == "auto" and not isinstance(self.kernel, Scaled):
                return Scaled(self.kernel)
            return self.kernel
        kernel = default_kernel(d)
        return Scaled(kernel) if loss == "nlml" else kernel

    def _bounds(self, loss: Any, n: int) -> tuple[float, float]:
        """Return the bounds of the nugget of `n` rows."""
        if self.nugget_bounds is not None:
            return self.nugget_bounds
        if loss == "nlml" or not self.is_factored:
            return _LEAST_OTHERWISE, _LARGEST
        # A smaller one may be lost in the rounding errors of the factorisation.
        return max(_LEAST, 10.0 * n * float(np.finfo(np.float64).eps)), _LARGEST


def default_kernel(d: int) -> Kernel:
    """Return a Matern 5/2 with a length scale for each of d columns, all at the root of d."""
    # That is about the distance of two points of standardised columns.
    return Matern52((math.sqrt(d),) * d)


def flexible_kernel(d: int) -> Kernel:
    """Return two rational quadratic kernels and a linear one, each with an amplitude.

    The first has a length scale for each of d columns, the second one for all, in which no column can be
    dropped. Their shapes go from the Gaussian's to one with features of many lengths; trends that go on
    beyond the data are left to the linear part.
    """
    length = math.sqrt(d)
    relevance = Scaled(RationalQuadratic((length,) * d))
    together = Scaled(RationalQuadratic(length), 0.3)
    return Sum((relevance, together, Scaled(Linear(length_scale_bounds="fixed"), 0.1)))


def _is_larger(densities: Doubles, others: Doubles, significant: float) -> bool:
    """Return whether the mean is larger by more than so many of its standard errors."""
    with np.errstate(invalid="ignore"):  # both are singular
        gains = densities - others
    mean = float(gains.mean())
    if not math.isfinite(mean) or len(gains) < 2:
        return mean == math.inf
    return mean > significant * float(gains.std(ddof=1)) / math.sqrt(len(gains))


def leave_one_out_densities(
    kernel: Kernel, nugget: float, data: ScaledRows, n_threads: int | None = None
) -> Doubles:
    """Return the logarithm of the density of each row under its prediction from all others.

    The amplitude of each output is the one that suits it best, as `kflow.GPRegressor` chooses it.

    Parameters
    ----------
    kernel, nugget : Kernel, float
        Those of the predictions.
    data : ScaledRows
        The rows. Outputs that are 0 everywhere do not count.
    n_threads : int, optional
        Threads for the kernel.

    Returns
    -------
    ndarray, shape (n,)
        Sums over the outputs, without constants that do not depend on kernel and nugget; -inf if the
        matrix is singular.

    Notes
    -----
    With e_i = (A^-1 y)_i / (A^-1)_ii, v_i = 1 / (A^-1)_ii and s^2 = mean e^2 / v, it is log N(e_i; 0, s^2 v_i). 2 n^3 / 3 flops.
    C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006), equations 5.10 to
    5.12.
    """
    try:
        factor = Factor(kernel, data.points, nugget, weights=data.weights, n_threads=n_threads)
    except SingularKernelError:
        return np.full(len(data), -math.inf)
    targets = data.targets[:, data.targets.any(axis=0)]
    diagonal = factor.inverse_diagonal()[:, None]
    squares = factor.solve(targets) ** 2 / diagonal
    amplitudes = np.maximum(np.mean(squares, axis=0), np.finfo(np.float64).tiny)
    logarithms = np.log(amplitudes) - np.log(diagonal) + squares / amplitudes
    return np.asarray(-0.5 * logarithms.sum(axis=1))
