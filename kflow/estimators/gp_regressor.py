"""Gaussian-process regression in scikit-learn's conventions, with a kernel learned by kernel flows."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from kflow._base.arguments import as_count, as_flag, as_nugget, as_positive
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix
from kflow.data.scaling import Preprocessing, standardisation
from kflow.errors import BoundsWarning, damaged
from kflow.estimators.input_files import input_arrays, read_inputs
from kflow.estimators.kernel_parameters import KernelParameters
from kflow.kernels import Kernel, Matern52, check_kernel, from_dict
from kflow.learning import LearnedKernel, LearningState, learn_kernel
from kflow.linear.conjugate_gradients import Solution, conjugate_gradients
from kflow.linear.factor import Factor, factorise
from kflow.linear.low_rank import Preconditioner, low_rank
from kflow.losses import LOSSES
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["GPRegressor"]

_SOLVERS = ("auto", "cholesky", "cg", "subset")

# Rank of the preconditioner, if the memory suffices: about where making it costs as much as the
# iterations it saves.
_RANK = 1000

# What the preconditioner may lack, as a part of the nugget.
_LACK = 0.01

# Rows held out to calibrate the variance where no inverse is within reach: a part, and at most so
# many.
_HELD, _MAX_HELD = 0.05, 1000

# What belongs to the run or the machine, not to the model, is not stored.
_NOT_STORED = ("n_threads", "callbacks", "progress")


@dataclass(frozen=True)
class _Posterior:
    """The posterior process of scaled targets, but for its amplitude.

    Attributes
    ----------
    points : ndarray, shape (n, d)
        The points that predictions are made of.
    coefficients : ndarray, shape (n, m)
        The mean at x is k(x, points) times these.
    nugget : float
        What was added to the diagonal.
    factor : Factor or None
        Of the points that the variance depends on; None if it is still to be made.
    variance_rows : ndarray of int, shape (n_v,), or None
        Which those are; None: all.
    n_iterations : int
        Of conjugate gradients.
    """

    points: FloatArray
    coefficients: FloatArray
    nugget: float
    factor: Factor | None
    variance_rows: npt.NDArray[np.intp] | None = None
    n_iterations: int = 0


def _draw(rng: np.random.Generator, n: int, size: int) -> npt.NDArray[np.intp]:
    """Draw rows in order, without replacement; all of them if there are no more."""
    return np.sort(rng.choice(n, min(size, n), replace=False)).astype(np.intp)


def _leave_one_out_scale(factor: Factor, coefficients: FloatArray) -> FloatArray:
    """Return the amplitude with which leave-one-out residuals have the deviations predicted, (m,)."""
    squares = np.square(coefficients) / factor.inverse_diagonal()[:, None]
    return np.asarray(np.sqrt(squares.mean(axis=0)))


def _by_cholesky(
    kernel: Kernel, nugget: float, X: FloatArray, Y: FloatArray, n_threads: int | None
) -> tuple[_Posterior, FloatArray]:
    """Return the posterior and its amplitudes."""
    factor = factorise(kernel, X, nugget, n_threads=n_threads)
    coefficients = factor.solve(Y)
    scale = _leave_one_out_scale(factor, coefficients)
    return _Posterior(X, coefficients, factor.nugget, factor), scale


def _json_parameter(value: Any) -> Any:
    if isinstance(value, Kernel):
        return value.to_dict()
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_json_parameter(number) for number in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else None


class GPRegressor(KernelParameters, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian-process regression, with a kernel learned by a parametric kernel flow.

    The posterior of f ~ GP(0, s^2 k) given y = f(X) + noise, noise ~ N(0, s^2 nugget I): with
    A = K(X, X) + nugget I, mean and variance of an observation at x are

        k(x, X) A^-1 y    and    s^2 (k(x, x) - k(x, X) A^-1 k(X, x) + nugget)

    (Rasmussen and Williams 2006, equations 2.25 and 2.26), for columns of X and of y that are first
    centred and scaled. The kernel and the nugget are learned on random batches (`kflow.learn_kernel`)
    by a loss of cross-validation, such as `e2`, or by the marginal likelihood. The losses of
    cross-validation do not see the amplitude s; it is chosen afterwards, for every output, so that
    leave-one-out residuals in units of their predicted deviations have mean square 1:

        s^2 = mean_i e_i^2 / v_i = mean_i (A^-1 y)_i^2 / (A^-1)_ii,

    e_i = (A^-1 y)_i / (A^-1)_ii, v_i = 1 / (A^-1)_ii (equation 5.12 there; Sundararajan and Keerthi
    2001).

    Parameters
    ----------
    kernel : kflow.kernels.Kernel or None
        Kernel to start from, of scaled points. None: a Matern 5/2 with a length scale for each
        column, which start at the root of their number; with an amplitude if `learn` is "nlml".
    nugget : float
        Variance of the noise over s^2 to start from.
    learn : str, callable or None
        The loss that is learned by: "e2", "loo", "kfold", "nlml", "rho" or another loss of
        `kflow.learn_kernel`. None: kernel and nugget are taken as they are.
    learn_nugget, nugget_bounds, batch_size, batches, n_batches, n_halves, n_folds, optimizer, \
learning_rate, n_steps, n_restarts
        As for `kflow.learn_kernel`. A `batch_size` or `n_folds` above the number of rows counts as
        that number.
    scaling : {"standard", "unit"} or None
        ``"standard"``: each column of X to mean 0 and variance 1. ``"unit"``: each row to norm 1.
        None: X as it is.
    solver : {"auto", "cholesky", "cg", "subset"}
        ``"cholesky"``: N x N matrices, N^3 flops. ``"cg"``: conjugate gradients, which never form
        such a matrix, preconditioned by a random Nystrom approximation. ``"subset"``: only
        `subset_size` rows drawn at random take part, but in learning all do. ``"auto"``: Cholesky
        while an N x N matrix fits into `max_memory`, else conjugate gradients.
    max_memory : float
        Bytes of an N x N matrix up to which "auto" is "cholesky", and of the preconditioner of "cg".
        The former needs twice as much at its peak.
    subset_size : int
        Rows that "subset" takes; rows that the variance is made of with "cg".
    tolerance, max_iterations : float, int
        Conjugate gradients end when the residual is at most this part of the targets, for every
        output, or after so many iterations, with a ConvergenceWarning.
    random_state : None, int or numpy.random.RandomState
        Source of batches, subsets and pivots.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.
    callbacks : iterable of callable
        Called with a `kflow.learning.LearningState` after each step of learning; a true result ends
        it.
    progress : bool
        Show a progress bar of learning.

    Attributes
    ----------
    kernel_ : kflow.kernels.Kernel
        The learned kernel k, of scaled points.
    nugget_ : float
        The learned nugget, and what the matrix needed besides to be positive definite.
    learned_ : kflow.LearnedKernel or None
        How it was learned; None if nothing was, and after `kflow.load`.
    scale_ : ndarray, shape (m,)
        The amplitude s of each output, in units of y.
    solver_ : {"cholesky", "cg", "subset"}
        The solver that was used.
    n_iterations_ : int
        Of conjugate gradients; 0 with the other solvers.
    X_train_ : ndarray, shape (n, d)
        The scaled rows that predictions are made of: all, or those of the subset.
    coefficients_ : ndarray, shape (n, m)
        A^-1 y, for scaled targets.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X has them.

    Notes
    -----
    With conjugate gradients the inverse is out of reach. The variance is then that given
    `subset_size` rows drawn at random, which is never smaller than that given all rows. The
    amplitude makes up for it in the mean: a twentieth of the rows, at most 1000, is held out, the
    others are solved for, and s^2 = mean e^2 / v over the rows held out (if they could not be solved
    for to the tolerance: over the subset's leave-one-out residuals). Then all rows are solved
    for, from there. With N up to `subset_size` the variance is exact.

    Targets that are constant are predicted as that constant, with deviation 0.

    Differences from `sklearn.gaussian_process.GaussianProcessRegressor`: points and targets are
    scaled; the noise belongs to the model and is in `predict`'s deviations unless told otherwise
    (there: if the kernel has a WhiteKernel); outputs share the kernel but not the amplitude.

    References
    ----------
    C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006), sections
    2.2 and 5.4.2.

    S. Sundararajan and S. S. Keerthi, Predictive approaches for choosing hyperparameters in Gaussian
    processes, Neural Computation 13 (2001), 1103-1118.

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
        learn: Any = "e2",
        learn_nugget: bool = True,
        nugget_bounds: tuple[float, float] = (1e-8, 1e4),
        batch_size: int = 1000,
        batches: str = "uniform",
        n_batches: int = 4,
        n_halves: int = 4,
        n_folds: int = 5,
        optimizer: str = "lbfgs",
        learning_rate: float | None = None,
        n_steps: int = 100,
        n_restarts: int = 0,
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
        self.kernel = kernel
        self.nugget = nugget
        self.learn = learn
        self.learn_nugget = learn_nugget
        self.nugget_bounds = nugget_bounds
        self.batch_size = batch_size
        self.batches = batches
        self.n_batches = n_batches
        self.n_halves = n_halves
        self.n_folds = n_folds
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.n_steps = n_steps
        self.n_restarts = n_restarts
        self.scaling = scaling
        self.solver = solver
        self.max_memory = max_memory
        self.subset_size = subset_size
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.random_state = random_state
        self.n_threads = n_threads
        self.callbacks = callbacks
        self.progress = progress

    # ---- fit ----------------------------------------------------------------------------------

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> GPRegressor:
        """Learn the kernel and condition on the data.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points.
        y : array_like, shape (N,) or (N, m)
            Targets, which share the kernel.

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
        with self._replacing():
            points, values = validate_data(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
            )
            values = np.asarray(values, np.float64)
            self._one_dimensional = values.ndim == 1
            targets = values.reshape(len(values), -1)
            self._target_mean, self._target_scale = standardisation(targets, "y")
            targets = (targets - self._target_mean) / self._target_scale
            self._preprocessing = Preprocessing.fit(points, self.scaling)
            points = np.ascontiguousarray(self._preprocessing(points))
            self._fit(points, targets)
        return self

    def _fit(self, X: FloatArray, Y: FloatArray) -> None:
        """Fit scaled points and targets."""
        kernel = self._start(X.shape[1])
        kernel.check_dimension(X.shape[1])
        nugget = as_nugget(self.nugget)
        subset_size = as_count(self.subset_size, "subset_size", 1)
        as_positive(self.tolerance, "tolerance")
        as_count(self.max_iterations, "max_iterations", 1)
        solver = self._chosen_solver(len(X))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        learn_rng, solver_rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
        self.learned_ = None
        if self.learn is not None and Y.any():
            self.learned_ = self._learn(kernel, nugget, X, Y, learn_rng)
            kernel, nugget = self.learned_.kernel, self.learned_.nugget
        if solver == "cg":
            posterior, scale = self._by_conjugate_gradients(kernel, nugget, X, Y, solver_rng)
        else:
            if solver == "subset":
                rows = _draw(solver_rng, len(X), subset_size)
                X, Y = X[rows], Y[rows]
            posterior, scale = _by_cholesky(kernel, nugget, X, Y, self.n_threads)
        self.solver_ = solver
        self.scale_ = scale * self._target_scale
        self._set_posterior(kernel, posterior)

    def _set_posterior(self, kernel: Kernel, posterior: _Posterior) -> None:
        self.kernel_, self.nugget_ = kernel, posterior.nugget
        self.X_train_, self.coefficients_ = posterior.points, posterior.coefficients
        self.n_iterations_ = posterior.n_iterations
        self._variance_rows = posterior.variance_rows
        self._factor = posterior.factor

    def _start(self, d: int) -> Kernel:
        """Return the kernel that learning starts from."""
        if self.kernel is not None:
            return check_kernel(self.kernel)
        # The root of d is about the distance of two points of standardised columns.
        kernel = Matern52((math.sqrt(d),) * d)
        return 1.0 * kernel if self.learn == "nlml" else kernel

    def _chosen_solver(self, n: int) -> str:
        if self.solver not in _SOLVERS:
            raise ValueError(f"solver must be one of {_SOLVERS}, got {self.solver!r}")
        max_memory = as_positive(self.max_memory, "max_memory")
        if self.solver == "auto":
            return "cholesky" if 8.0 * n * n <= max_memory else "cg"
        return str(self.solver)

    def _learn(
        self,
        kernel: Kernel,
        nugget: float,
        X: FloatArray,
        Y: FloatArray,
        rng: np.random.Generator,
    ) -> LearnedKernel:
        n = len(X)
        if isinstance(self.learn, str) and self.learn not in LOSSES:
            raise ValueError(f"learn must be one of {tuple(LOSSES)}, got {self.learn!r}")
        batch_size = min(as_count(self.batch_size, "batch_size", 1), n)
        with warnings.catch_warnings():
            if self.kernel is None:
                # Without an effect on y, a column's length scale grows up to its bound.
                warnings.simplefilter("ignore", BoundsWarning)
            return learn_kernel(
                kernel,
                X,
                Y,
                loss=self.learn,
                nugget=nugget,
                learn_nugget=self.learn_nugget,
                nugget_bounds=self.nugget_bounds,
                batch_size=batch_size,
                batches=self.batches,
                n_batches=self.n_batches,
                n_halves=self.n_halves,
                n_folds=min(as_count(self.n_folds, "n_folds", 2), batch_size),
                optimizer=self.optimizer,
                learning_rate=self.learning_rate,
                n_steps=self.n_steps,
                n_restarts=self.n_restarts,
                random_state=rng,
                callbacks=self.callbacks,
                progress=as_flag(self.progress, "progress"),
                n_threads=self.n_threads,
            )

    def _by_conjugate_gradients(
        self, kernel: Kernel, nugget: float, X: FloatArray, Y: FloatArray, rng: np.random.Generator
    ) -> tuple[_Posterior, FloatArray]:
        """Return the posterior and its amplitudes."""
        n = len(X)
        subset_size = as_count(self.subset_size, "subset_size", 1)
        n_held = 0 if n <= subset_size else min(max(1, round(_HELD * n)), _MAX_HELD)
        held = _draw(rng, n, n_held)
        kept = np.setdiff1d(np.arange(n), held)
        variance_rows = kept[_draw(rng, len(kept), subset_size)]
        factor = factorise(kernel, X[variance_rows], nugget, n_threads=self.n_threads)
        nugget = factor.nugget
        rank = max(1, min(_RANK, int(self.max_memory / (8.0 * n))))
        approximation = low_rank(
            kernel, X, rank, rng, tolerance=_LACK * nugget, n_threads=self.n_threads
        )

        def solve(rows: npt.NDArray[np.intp], start: FloatArray | None) -> Solution:
            points = X[rows]
            return conjugate_gradients(
                lambda V: kernel.apply(points, points, V, n_threads=self.n_threads) + nugget * V,
                Y[rows],
                preconditioner=Preconditioner(approximation[rows], nugget),
                start=start,
                tolerance=self.tolerance,
                max_iterations=self.max_iterations,
            )

        if n_held == 0:
            solution = solve(kept, None)
            n_iterations = solution.n_iterations
            scale = _leave_one_out_scale(factor, solution.coefficients)
        else:
            first = solve(kept, None)
            if first.residuals.max() > self.tolerance:
                # Predictions of what is not solved say nothing; the subset's own do.
                scale = _leave_one_out_scale(factor, factor.solve(Y[variance_rows]))
            else:
                mean = kernel.apply(X[held], X[kept], first.coefficients, n_threads=self.n_threads)
                variances = factor.variances(X[held]) + nugget
                scale = np.sqrt(np.mean(np.square(Y[held] - mean) / variances[:, None], axis=0))
            start = np.zeros_like(Y)
            start[kept] = first.coefficients
            solution = solve(np.arange(n), start)
            n_iterations = first.n_iterations + solution.n_iterations
        worst = float(solution.residuals.max())
        if worst > self.tolerance:
            warnings.warn(
                f"conjugate gradients ended after {solution.n_iterations} iterations with a residual "
                f"of {worst:.1e} of y, above tolerance={self.tolerance:g}: pass a larger nugget, "
                "max_iterations or tolerance, or more max_memory for the preconditioner",
                ConvergenceWarning,
                stacklevel=4,
            )
        posterior = _Posterior(
            X, solution.coefficients, nugget, factor, variance_rows, n_iterations
        )
        return posterior, scale

    @contextmanager
    def _replacing(self) -> Iterator[None]:
        """Bring back the earlier fit, whole, if what is inside fails."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    # ---- predictions --------------------------------------------------------------------------

    def predict(
        self, X: npt.ArrayLike, return_std: bool = False, *, include_noise: bool = True
    ) -> Any:
        """Return the posterior mean, and the standard deviation if wanted.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.
        return_std : bool
            Whether to return the standard deviation, too.
        include_noise : bool
            Whether it is that of an observation, noise included, or that of the function below the
            noise. An interval of 95 % for observations is mean +- 1.96 std with the noise.

        Returns
        -------
        mean : ndarray, shape (n,) or (n, m)
            In the units and the shape of y.
        std : ndarray, shape of `mean`
            If `return_std`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values.

        Notes
        -----
        N evaluations of the kernel for each row; for the deviation N^2 flops more, or
        ``subset_size^2`` after conjugate gradients.
        """
        check_is_fitted(self)
        points = validate_data(self, X, dtype=np.float64, reset=False)
        points = np.ascontiguousarray(self._preprocessing(points))
        values = self.kernel_.apply(
            points, self.X_train_, self.coefficients_, n_threads=self.n_threads
        )
        mean = self._in_shape_of_y(values * self._target_scale + self._target_mean)
        if not as_flag(return_std, "return_std"):
            return mean
        variances = self._variance_factor().variances(points)
        if as_flag(include_noise, "include_noise"):
            variances += self.nugget_
        return mean, self._in_shape_of_y(np.sqrt(variances)[:, None] * self.scale_)

    def _in_shape_of_y(self, values: FloatArray) -> FloatArray:
        return values[:, 0] if self._one_dimensional else values

    def _variance_factor(self) -> Factor:
        if self._factor is None:  # after a file was read
            points = self.X_train_
            if self._variance_rows is not None:
                points = points[self._variance_rows]
            self._factor = Factor(self.kernel_, points, self.nugget_, n_threads=self.n_threads)
        return self._factor

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: all but the factor, which can be made again."""
        state = dict(super().__getstate__())
        if "_factor" in state:
            state["_factor"] = None
        return state

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are coefficients."""
        return hasattr(self, "coefficients_")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file; `kflow.load` reads it.

        A loss that is a function, a `random_state` that is not an int, `callbacks`, `progress` and
        `n_threads` are not stored: they are those of a new estimator after `kflow.load`. The file
        holds the training points, but no N x N matrix: after `kflow.load`, the first deviations
        factor it again.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        TypeError
            If the kernel holds Python functions.
        """
        check_is_fitted(self)
        settings = {
            "parameters": {
                name: _json_parameter(value)
                for name, value in self.get_params(deep=False).items()
                if name not in _NOT_STORED and not (name == "learn" and callable(value))
            },
            "kernel": self.kernel_.to_dict(),
            "nugget": self.nugget_,
            "solver": self.solver_,
            "n_iterations": self.n_iterations_,
            "n_features_in": int(self.n_features_in_),
            "one_dimensional": self._one_dimensional,
        }
        write_model(path, type(self).__name__, settings, self._arrays())

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        yield "points", self.X_train_
        yield "coefficients", self.coefficients_
        yield "scale", self.scale_
        yield "target_mean", self._target_mean
        yield "target_scale", self._target_scale
        if self._variance_rows is not None:
            yield "variance_rows", self._variance_rows
        yield from input_arrays(self)

    @classmethod
    def _import(cls, reader: ModelReader) -> GPRegressor:
        with damaged("settings"):
            parameters = dict(reader.settings["parameters"])
            if parameters.get("kernel") is not None:
                parameters["kernel"] = from_dict(parameters["kernel"])
            if parameters.get("nugget_bounds") is not None:
                parameters["nugget_bounds"] = tuple(parameters["nugget_bounds"])
            estimator = cls(**parameters)
            n_features = as_count(reader.settings["n_features_in"], "n_features_in", 1)
            kernel = from_dict(reader.settings["kernel"])
            kernel.check_dimension(n_features)
            nugget = as_nugget(reader.settings["nugget"])
            n_iterations = as_count(reader.settings["n_iterations"], "n_iterations", 0)
            estimator.solver_ = str(reader.settings["solver"])
            one_dimensional = as_flag(reader.settings["one_dimensional"], "one_dimensional")
        read_inputs(reader, estimator, n_features)
        estimator.learned_ = None  # it belongs to the run, not to the model

        def columns(name: str) -> npt.NDArray[np.float64]:
            array = reader.array(name, ndim=1)
            column = as_matrix(array, name, dtype=np.float64, n_rows=m, column_if_1d=True)
            return column[:, 0].astype(np.float64)

        with damaged("posterior"):
            points = as_matrix(
                reader.array("points"),
                "points",
                dtype=np.float64,
                n_columns=n_features,
                allow_no_rows=False,
            )
            coefficients = as_matrix(
                reader.array("coefficients"), "coefficients", dtype=np.float64, n_rows=len(points)
            )
            m = coefficients.shape[1]
            if one_dimensional and m != 1:
                raise ValueError("coefficients are those of several outputs")
            estimator._one_dimensional = one_dimensional
            estimator.scale_ = columns("scale")
            estimator._target_mean = columns("target_mean")
            estimator._target_scale = columns("target_scale")
            rows = reader.array("variance_rows", ndim=1) if "variance_rows" in reader else None
            if rows is not None and not (
                rows.dtype.kind in "iu"
                and len(rows)
                and np.isin(rows, np.arange(len(points))).all()
            ):
                raise ValueError("variance_rows are no rows of points")
        estimator._set_posterior(
            kernel, _Posterior(points, coefficients, nugget, None, rows, n_iterations)
        )
        return estimator
