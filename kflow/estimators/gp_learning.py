"""How the kernel and the nugget of a Gaussian process are learned: the loss, bounds, and a choice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kflow._base.warn import warn_user
from kflow.errors import BoundsWarning, DivergenceError, SingularKernelError
from kflow.estimators.gp_solvers import ScaledRows, drawn_rows
from kflow.kernels import Kernel, Matern52
from kflow.kernels.base import Scaled
from kflow.learning import LearnedKernel, learn_kernel
from kflow.learning.nugget import leave_one_out_nugget
from kflow.linear.factor import Factor
from kflow.losses import LOSSES

__all__ = ["KernelSearch", "default_kernel", "leave_one_out_density"]

# The losses that "auto" tries.
_TRIED = ("e2", "nlml")

# The least nugget where matrices are factored, and where conjugate gradients take more iterations,
# the smaller it is, or the amplitude, next to which it is smaller still, is learned too.
_LEAST, _LEAST_OTHERWISE = 1e-12, 1e-8

# The largest nugget: there is nothing but noise.
_LARGEST = 1e4


@dataclass(frozen=True)
class KernelSearch:
    """What is learned from scaled rows, and how.

    Attributes
    ----------
    learn : str or callable
        A loss of `kflow.learn_kernel`, or "auto".
    kernel : Kernel or None
        The kernel to start from; None: a Matern 5/2 with a length scale for each column.
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

    def __post_init__(self) -> None:
        """Check the loss."""
        known = ("auto", *LOSSES)
        if isinstance(self.learn, str) and self.learn not in known:
            raise ValueError(f"learn must be one of {known}, got {self.learn!r}")

    def __call__(self, data: ScaledRows, rng: np.random.Generator) -> LearnedKernel:
        """Return what is learned.

        With "auto" the kernel is learned by each of two losses, and that one is returned with which the
        leave-one-out predictions of a batch of rows have the larger density. Warnings are those of the
        chosen one.

        Raises
        ------
        DivergenceError, SingularKernelError
            As `kflow.learn_kernel`; with "auto", if neither loss can be lowered.
        """
        if self.learn != "auto":
            return self._by(self.learn, data, rng)
        some = data[drawn_rows(rng, len(data), self.batch_size)]
        best, found, issued, failure = -math.inf, None, [], None
        for loss, generator in zip(_TRIED, rng.spawn(len(_TRIED)), strict=True):
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    learned = self._by(loss, data, generator)
            except (DivergenceError, SingularKernelError) as error:
                failure = error
                continue
            density = leave_one_out_density(
                learned.kernel, learned.nugget, some, self.options["n_threads"]
            )
            if found is None or density > best:
                best, found, issued = density, learned, caught
        if found is None:
            assert failure is not None
            raise failure
        for warning in issued:
            warn_user(str(warning.message), warning.category)
        return found

    def _by(self, loss: Any, data: ScaledRows, rng: np.random.Generator) -> LearnedKernel:
        """Return what is learned by one loss."""
        n, d = data.points.shape
        kernel, bounds = self._start(loss, d), self._bounds(loss, n)
        first = bounds
        if loss == "rho":
            # rho goes on to fall where noise takes over: the noise may not be more than the signal.
            signal = float(np.mean(kernel.diag(data.points)))
            first = bounds[0], max(bounds[0], self.nugget, min(bounds[1], signal))
        nugget = self.nugget
        if self.nugget_bounds is None and nugget > 0.0:
            nugget = min(max(nugget, first[0]), first[1])
        batch_size = min(self.batch_size, n)
        with warnings.catch_warnings():
            if self.kernel is None:
                # Without an effect on y, a column's length scale grows up to its bound.
                warnings.filterwarnings("ignore", "learning .* bound of (?!the nug)", BoundsWarning)
            if loss == "rho":
                warnings.filterwarnings("ignore", "learning .* bound of the nug", BoundsWarning)
            learned = learn_kernel(
                kernel,
                data.points,
                data.targets,
                loss=loss,
                nugget=nugget,
                learn_nugget=self.learn_nugget,
                nugget_bounds=first,
                sample_weight=data.weights,
                batch_size=batch_size,
                n_folds=min(self.n_folds, batch_size),
                random_state=rng,
                **self.options,
            )
        if loss != "rho" or not self.learn_nugget:
            return learned
        # rho compares interpolants, and no errors: these choose the nugget.
        some = data[drawn_rows(rng, n, batch_size)]
        return replace(
            learned,
            nugget=leave_one_out_nugget(
                learned.kernel,
                some.points,
                some.targets,
                bounds,
                weights=some.weights,
                n_threads=self.options["n_threads"],
            ),
        )

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


def leave_one_out_density(
    kernel: Kernel, nugget: float, data: ScaledRows, n_threads: int | None = None
) -> float:
    """Return the mean logarithm of the density of rows under predictions from all others.

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
    float
        It lacks constants that do not depend on kernel and nugget; -inf if the matrix is singular.

    Notes
    -----
    With e_i = (A^-1 y)_i / (A^-1)_ii, v_i = 1 / (A^-1)_ii and s^2 = mean e^2 / v, the mean of
    -log N(e_i; 0, s^2 v_i) is log(s^2) / 2 + mean log(v) / 2 and a constant. 2 n^3 / 3 flops. C. E. Rasmussen and C. K. I. Williams,
    Gaussian Processes for Machine Learning (2006), equations 5.10 to 5.12.
    """
    try:
        factor = Factor(kernel, data.points, nugget, weights=data.weights, n_threads=n_threads)
    except SingularKernelError:
        return -math.inf
    targets = data.targets[:, data.targets.any(axis=0)]
    diagonal = factor.inverse_diagonal()
    squares = np.mean(factor.solve(targets) ** 2 / diagonal[:, None], axis=0)
    tiny = float(np.finfo(np.float64).tiny)
    amplitudes = float(np.log(np.maximum(squares, tiny)).sum())
    variances = -targets.shape[1] * float(np.log(diagonal).mean())
    return float(-0.5 * (amplitudes + variances))
