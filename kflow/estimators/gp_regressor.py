"""Gaussian-process regression in scikit-learn's conventions, with a kernel learned by kernel flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag, as_nugget, as_positive
from kflow._base.array_types import Doubles
from kflow.data.scaling import Preprocessing
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.gp_files import GPFiles
from kflow.estimators.gp_learning import KernelSearch, default_kernel
from kflow.estimators.gp_posterior import Posterior
from kflow.estimators.gp_predictions import GPPredictions
from kflow.estimators.gp_solvers import (
    IterativeOptions,
    ScaledRows,
    by_cholesky,
    by_conjugate_gradients,
    chosen_solver,
    drawn_rows,
    solved_again,
)
from kflow.estimators.kernel_parameters import KernelParameters
from kflow.estimators.parameters import (
    keep_parameters,
)
from kflow.estimators.target_scaling import TargetScaling
from kflow.estimators.validation import seed_of, validated
from kflow.estimators.weights import row_weights
from kflow.kernels import Kernel, check_kernel
from kflow.learning import LearningState

__all__ = ["GPRegressor"]


class GPRegressor(KernelParameters, GPPredictions, GPFiles, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Gaussian-process regression, with a kernel learned by a parametric kernel flow.

    The posterior of :math:`f \sim GP(0, s^2 k)` given y = f(X) + noise of :math:`N(0, s^2 \lambda W^{-1})`,
    with weights W of the rows, 1 by default. With :math:`A = K(X, X) + \lambda W^{-1}`, mean and variance of
    an observation of weight 1 at x are

    .. math:: k(x, X) A^{-1} y \quad\text{and}\quad s^2 (k(x, x) - k(x, X) A^{-1} k(X, x) + \lambda)

    (Rasmussen and Williams 2006, equations 2.25 and 2.26), for columns of X and of y that are first
    centred and scaled. The kernel and the nugget are learned on random batches (`kflow.learn_kernel`)
    by a loss of cross-validation, such as `e2`, or by the marginal likelihood. The losses of
    cross-validation do not see the amplitude s; it is chosen afterwards, for every output, so that
    leave-one-out residuals in units of their predicted deviations have mean square 1:

    .. math:: s^2 = \frac1N \sum_i e_i^2 / v_i = \frac1N \sum_i (A^{-1} y)_i^2 / (A^{-1})_{ii}

    with :math:`e_i = (A^{-1} y)_i / (A^{-1})_{ii}` and :math:`v_i = 1 / (A^{-1})_{ii}` (equation 5.12
    there; Sundararajan and Keerthi 2001).

    Parameters
    ----------
    kernel : kflow.kernels.Kernel or None
        The kernel of scaled points that learning starts from. None: with "map" a sum of a rational
        quadratic kernel with a length scale for each column, of one with a length scale for all, and
        of a linear one, each with an amplitude; else a Matern 5/2 with a length scale for each column,
        which has an amplitude where the likelihood learns it. Length scales start at the root of the
        number of columns.
    nugget : float
        The variance of the noise over s^2 that learning starts from.
    learn : str, callable or None
        ``"map"`` takes the most probable parameters: it learns by the marginal likelihood with `priors`,
        of one batch of rows whatever `n_batches` is.
        ``"auto"`` is "map" if no kernel is given. A given kernel is learned by e2 and by the marginal
        likelihood, and what the latter found is kept if with it the leave-one-out predictions of a
        batch of rows have larger densities, by three standard errors. With conjugate gradients "auto"
        is e2 alone, since the likelihood's nuggets, next to its amplitudes, are too small for them. Or
        the loss that learning lowers: "e2", "loo", "kfold", "nlml", "rho" or another loss of
        `kflow.learn_kernel`. None: the kernel and the nugget are taken as they are.
    learn_nugget, batch_size, batches, n_batches, n_halves, n_folds, optimizer, learning_rate, n_steps, n_restarts
        Options of `kflow.learn_kernel`. A `batch_size` or `n_folds` above the number of rows counts
        as that number.
    nugget_bounds : tuple of float, or None
        The least and the largest nugget that is learned. None: the least is 1e-12, or what the rounding
        errors of a factorisation hide, and 1e-8 with conjugate gradients and where an amplitude is learned
        too; the largest is 1e4.
    priors : mapping of str to (float, float), or None
        Log-normal priors, as in `kflow.learn_kernel`: the median of a parameter and the spread of its
        logarithm, by names. None: no priors but for "map", which then has the median 2 sqrt(d) and the
        spread 1 for all length scales, of scaled points with d columns.
    warm_start : bool
        Whether learning starts from `kernel_` and `nugget_` of an earlier fit of this estimator, if
        there is one, instead of from `kernel` and `nugget`.
    scaling : {"standard", "unit"} or None
        ``"standard"`` scales each column of X to mean 0 and variance 1. ``"unit"`` scales each row to
        norm 1. None leaves X as it is.
    solver : {"auto", "cholesky", "cg", "subset"}
        ``"cholesky"`` takes N x N matrices and N^3 flops. ``"cg"``, conjugate gradients, never forms
        such a matrix and is preconditioned by a random Nystrom approximation. With ``"subset"`` only
        `subset_size` rows drawn at random take part, though all do in learning. ``"auto"`` is
        Cholesky while an N x N matrix fits into `max_memory`, else conjugate gradients.
    max_memory : float
        Bytes of an N x N matrix up to which "auto" is "cholesky", and bytes of the preconditioner of
        "cg". Cholesky needs twice as much at its peak.
    subset_size : int
        Rows that take part with "subset", and rows up to which variances are exact with "cg".
    tolerance, max_iterations : float, int
        Conjugate gradients end when the residual of every output is at most the part `tolerance` of
        its targets, or after `max_iterations` with a ConvergenceWarning.
    random_state : None, int, RandomState, Generator or SeedSequence
        Source of batches, subsets and pivots.
    n_threads : int, optional
        Number of threads; see `kflow.get_num_threads`. The result does not depend on it.
    callbacks : iterable of callable
        Functions that are called with a `kflow.learning.LearningState` after each step of learning;
        a true result ends it.
    progress : bool
        Whether to show a progress bar of learning.

    Attributes
    ----------
    kernel_ : kflow.kernels.Kernel
        The learned kernel k, of scaled points.
    nugget_ : float
        The learned nugget, plus what the matrix needed to be positive definite.
    learned_ : kflow.LearnedKernel or None
        How the kernel was learned; None if nothing was learned, and after `kflow.load`.
    scale_ : ndarray, shape (m,)
        The amplitude s of each output, in units of y.
    solver_ : {"cholesky", "cg", "subset"}
        The solver that was used.
    n_iterations_ : int
        Iterations of conjugate gradients; 0 with the other solvers.
    X_train_ : ndarray, shape (n, d)
        The scaled rows that predictions are made of: all rows, or those of the subset.
    y_train_ : ndarray, shape (n, m)
        Their scaled targets.
    coefficients_ : ndarray, shape (n, m)
        A^-1 y, for scaled targets.
    weights_ : ndarray, shape (n,), or None
        Their weights over `weight_unit_`; None for 1.
    weight_unit_ : float
        The median weight of the rows that `fit` was given; 1 without weights.
    theta_ : ndarray, shape (p + 1 + m,)
        The logarithms of all parameters: those of the kernel, the nugget, the amplitudes.
    variance_rows_ : ndarray of int, or None
        The rows of `X_train_` from which the variance is made; None for all of them.
    scaling_ : kflow.data.scaling.Preprocessing
        The map from rows of X to scaled points.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X has them.

    Notes
    -----
    With conjugate gradients the inverse is out of reach. Beyond `subset_size` rows the variance is then that
    given all rows as if they were independent given the values at `variance_rows_`, the pivots of the
    preconditioner, of which there are at most 1000 (FITC; Snelson and Ghahramani 2006). It is never
    negative; in regions that the pivots do not tell it is too large. The amplitude makes up for it in the
    mean: a twentieth of the rows, at most 1000, is held out, the system of the other rows is solved, and
    s^2 = mean e^2 / v over the rows held out (or over the leave-one-out residuals of a subset, if the
    system could not be solved to the tolerance). From that solution the system of all rows is solved.

    rho does not measure errors, and goes on to fall where noise takes over. With ``learn="rho"`` and a
    learned nugget, the kernel is learned twice, with a nugget that is at most the variance of the signal
    and with the given one. Each time the nugget is then chosen by leave-one-out errors, and their
    densities choose between the two.

    Targets that are constant are predicted as that constant, with deviation 0; one row, with the kernel's.

    Differences from `sklearn.gaussian_process.GaussianProcessRegressor`: points and targets are
    scaled; the noise belongs to the model and is in `predict`'s deviations unless told otherwise
    (there: if the kernel has a WhiteKernel); outputs share the kernel but not the amplitude.

    References
    ----------
    C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006), sections
    2.2 and 5.4.2.

    S. Sundararajan and S. S. Keerthi, Predictive approaches for choosing hyperparameters in Gaussian
    processes, Neural Computation 13 (2001), 1103-1118.

    E. Snelson and Z. Ghahramani, Sparse Gaussian processes using pseudo-inputs, NIPS 18 (2006).

    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
    J. Comp. Phys. 389 (2019), 22-47.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> import kflow
    >>> X, y = make_friedman1(200, noise=1.0, random_state=0)
    >>> model = kflow.GPRegressor(random_state=0).fit(X, y)
    >>> mean, std = model.predict(X, return_std=True)
    >>> bool(model.score(X, y) > 0.9), mean.shape, std.shape
    (True, (200,), (200,))
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        nugget: float = 1e-2,
        learn: Any = "auto",
        learn_nugget: bool = True,
        nugget_bounds: tuple[float, float] | None = None,
        priors: Any = None,
        batch_size: int = 1000,
        batches: str = "uniform",
        n_batches: int = 4,
        n_halves: int = 4,
        n_folds: int = 5,
        optimizer: str = "lbfgs",
        learning_rate: float | None = None,
        n_steps: int = 100,
        n_restarts: int = 0,
        warm_start: bool = False,
        scaling: str | None = "standard",
        solver: str = "auto",
        max_memory: float = 2.0**30,
        subset_size: int = 2000,
        tolerance: float = 1e-5,
        max_iterations: int = 500,
        random_state: Any = None,
        n_threads: int | None = None,
        callbacks: Iterable[Callable[[LearningState], bool | None]] = (),
        progress: bool = False,
    ) -> None:
        keep_parameters(self, locals())

    # ---- fit ----------------------------------------------------------------------------------

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> GPRegressor:
        """Learn the kernel and condition on the data.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points.
        y : array_like, shape (N,) or (N, m)
            Targets, which share the kernel.
        sample_weight : array_like, shape (N,), optional
            Weights of the rows, not negative: the variance of a row's noise is the nugget's divided by
            its weight. Where the variances of the noise are known, pass 1 / variance. Only ratios
            count, since the level of the noise is learned: the nugget is that of a row of median
            weight. Rows of weight 0 are left out. None: all are alike.

        Returns
        -------
        GPRegressor
            The estimator itself.

        Raises
        ------
        DivergenceError
            If the loss is finite nowhere.
        SingularKernelError
            If a kernel matrix is not positive definite, even with a larger nugget.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Warns
        -----
        JitterWarning
            If a larger nugget was needed.
        LearningWarning
            As `kflow.learn_kernel` does.
        sklearn.exceptions.ConvergenceWarning
            If conjugate gradients end above the tolerance.

        Notes
        -----
        A fit that fails leaves an earlier fit as it was.
        """
        with restored_on_failure(self):
            points, values = validated(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
            )
            values = np.asarray(values, np.float64)
            weights = row_weights(sample_weight, len(points), fewest=1)
            self.weight_unit_ = 1.0
            if weights is not None:
                rows = np.flatnonzero(weights)
                points, values, weights = points[rows], values[rows], weights[rows]
                self.weight_unit_ = float(np.median(weights))
                weights = self._in_units(weights)
            self._target_scaling = TargetScaling.fit(values, weights)
            self.scaling_ = Preprocessing.fit(points, self.scaling)
            points = np.array(self.scaling_(points), order="C")  # a copy: it is kept
            self._fit(ScaledRows(points, self._target_scaling(values), weights))
        return self

    def _in_units(self, weights: Doubles) -> Doubles:
        """Return weights over the median one of `fit`."""
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            ratios = np.asarray(weights / self.weight_unit_)
            usable = np.isfinite(ratios) & np.isfinite(1.0 / ratios)
        if not usable.all():
            raise ValueError(
                "sample_weight: the ratios of weights overflow, pass less extreme ones"
            )
        return ratios

    def _fit(self, data: ScaledRows) -> None:
        """Fit scaled rows."""
        d = data.points.shape[1]
        given, nugget = self._start()
        kernel = default_kernel(d) if given is None else given
        kernel.check_dimension(d)
        options = self._iterative_options()  # wrong ones are found before the kernel is learned
        solver = chosen_solver(self.solver, len(data), options.max_memory)
        learn_rng, solver_rng = self._generators()
        self.learned_ = None
        if self.learn is not None and data.targets.any():
            self.learned_ = self._search(given, nugget, solver)(data, learn_rng)
            kernel, nugget = self.learned_.kernel, self.learned_.nugget
        if solver == "cg":
            posterior, scale = by_conjugate_gradients(
                kernel, nugget, data, solver_rng, options, self.n_threads
            )
        else:
            if solver == "subset":
                data = data[drawn_rows(solver_rng, len(data), options.subset_size)]
            posterior, scale = by_cholesky(kernel, nugget, data, self.n_threads)
        self.solver_ = solver
        self._keep(posterior, scale * self._target_scaling.scale)

    def _generators(self) -> tuple[np.random.Generator, np.random.Generator]:
        """Return the sources of randomness of learning and of the solvers."""
        seeds = np.random.SeedSequence(seed_of(self.random_state)).spawn(2)
        return np.random.default_rng(seeds[0]), np.random.default_rng(seeds[1])

    def _keep(self, posterior: Posterior, scale: Doubles) -> None:
        """Make a posterior and its amplitudes the estimator's."""
        self._posterior, self.scale_ = posterior, scale
        self.kernel_, self.nugget_ = posterior.kernel, posterior.nugget
        self.X_train_, self.y_train_ = posterior.points, posterior.targets
        self.coefficients_, self.weights_ = posterior.coefficients, posterior.weights
        self.n_iterations_ = posterior.n_iterations
        self.variance_rows_ = (
            posterior.variance_rows if posterior.pivots is None else posterior.pivots
        )

    def add_rows(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> GPRegressor:
        """Condition on further rows, without learning again.

        Kernel, nugget and scaling stay as they are. The result is that of a fit of all rows with these, up
        to rounding errors; the amplitudes are calibrated on all rows.

        Parameters
        ----------
        X : array_like, shape (q, d)
            Further points.
        y : array_like, shape (q,) or (q, m)
            Their targets.
        sample_weight : array_like, shape (q,), optional
            Their weights, not negative, in the units of those of `fit`. None: the median weight of `fit`.
            Rows of weight 0 are left out.

        Returns
        -------
        GPRegressor
            The estimator itself.

        Raises
        ------
        SingularKernelError
            If the kernel matrix is not positive definite, even with a larger nugget.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Warns
        -----
        JitterWarning
            If a larger nugget was needed; the factor is then made anew.
        sklearn.exceptions.ConvergenceWarning
            If conjugate gradients end above the tolerance.

        Notes
        -----
        The Cholesky factor is extended: 2 n^2 q flops for q rows in addition to n, where a fit takes
        n^3, and 8 (n + q)^2 bytes for the larger factor. With "subset" the rows join the subset. After
        conjugate gradients the system of all rows is solved again, from the solution so far; the
        amplitudes stay those of `fit`, and so do variances up to `subset_size` rows, which are then those
        given the rows of `fit`.

        If it fails, the estimator stays as it was.
        """
        check_is_fitted(self)
        with restored_on_failure(self):
            points, values = validated(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, reset=False
            )
            values = self._checked_outputs(np.asarray(values, np.float64))
            weights = row_weights(sample_weight, len(points), fewest=1)
            if weights is not None:
                rows = np.flatnonzero(weights)
                points, values = points[rows], values[rows]
                weights = self._in_units(weights[rows])
            points = np.ascontiguousarray(self.scaling_(points))
            targets, before = self._target_scaling(values), self._posterior
            if self.solver_ == "cg":
                more = before.with_rows(points, targets, weights)
                options, rng = self._iterative_options(), self._generators()[1]
                self._keep(solved_again(more, rng, options, self.n_threads), self.scale_)
            else:
                posterior, scale = before.extended(points, targets, weights, self.n_threads)
                self._keep(posterior, scale * self._target_scaling.scale)
        return self

    def _checked_outputs(self, values: Doubles) -> Doubles:
        """Return targets if they have the outputs of those of `fit`."""
        wanted = () if self._target_scaling.one_dimensional else (len(self.scale_),)
        if values.shape[1:] != wanted:
            raise ValueError(
                f"y must have shape {('q', *wanted)} as in fit, for q rows; got {values.shape}"
            )
        return values

    def _start(self) -> tuple[Kernel | None, float]:
        """Return the kernel and the nugget that learning starts from; None for the default kernel."""
        nugget = as_nugget(self.nugget)
        if as_flag(self.warm_start, "warm_start") and hasattr(self, "coefficients_"):
            if self.nugget_bounds is not None and self.learn is not None and self.learn_nugget:
                return self.kernel_, float(np.clip(self.nugget_, *self.nugget_bounds))
            return self.kernel_, self.nugget_
        return None if self.kernel is None else check_kernel(self.kernel), nugget

    def _iterative_options(self) -> IterativeOptions:
        """Return the checked options of the solvers."""
        return IterativeOptions(
            subset_size=as_count(self.subset_size, "subset_size", 1),
            max_memory=as_positive(self.max_memory, "max_memory"),
            tolerance=as_positive(self.tolerance, "tolerance"),
            max_iterations=as_count(self.max_iterations, "max_iterations", 1),
        )

    def _search(self, kernel: Kernel | None, nugget: float, solver: str) -> KernelSearch:
        """Return the search of the kernel and the nugget."""
        is_auto = isinstance(self.learn, str) and self.learn == "auto"
        return KernelSearch(
            learn="map" if is_auto and self.kernel is None and solver != "cg" else self.learn,
            kernel=kernel,
            nugget=nugget,
            nugget_bounds=self.nugget_bounds,
            learn_nugget=as_flag(self.learn_nugget, "learn_nugget"),
            is_factored=solver != "cg",
            batch_size=as_count(self.batch_size, "batch_size", 1),
            n_folds=as_count(self.n_folds, "n_folds", 2),
            options={
                "priors": self.priors,
                "batches": self.batches,
                "n_batches": as_count(self.n_batches, "n_batches", 1),
                "n_halves": self.n_halves,
                "optimizer": self.optimizer,
                "learning_rate": self.learning_rate,
                "n_steps": self.n_steps,
                "n_restarts": self.n_restarts,
                "callbacks": self.callbacks,
                "progress": as_flag(self.progress, "progress"),
                "n_threads": self.n_threads,
            },
            is_default=self.kernel is None,
        )

    # ---- scikit-learn -------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are coefficients."""
        return hasattr(self, "coefficients_")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
