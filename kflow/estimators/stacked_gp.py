"""Several Gaussian processes whose predictions are averaged, with weights by leave-one-out errors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_choice, as_count, as_flag
from kflow._base.array_types import Doubles
from kflow._base.parameter_names import NamedParameters
from kflow._base.warn import warn_user
from kflow.errors import BoundsWarning, DivergenceError, LearningWarning, SingularKernelError
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.gp_regressor import GPRegressor
from kflow.estimators.gp_solvers import drawn_rows
from kflow.estimators.parameters import keep_parameters
from kflow.estimators.stack_files import StackFiles
from kflow.estimators.stack_members import Member, default_kernels
from kflow.estimators.validation import seed_of, validated
from kflow.estimators.weights import row_weights
from kflow.kernels import Kernel, check_kernel
from kflow.linear.simplex import least_squares_on_simplex

__all__ = ["StackedGPRegressor"]

# Rows by whose leave-one-out errors the weights are found, at most.
_WEIGHT_ROWS = 2000

# How much equal weights are preferred, in squared errors of single rows. Of 0 to 100, on 18 sets that are not
# in `bench/gp_tables.py` or in its part A, 3 was within 1 % of the best on most.
_RIDGE = 3.0


class StackedGPRegressor(NamedParameters, StackFiles, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Gaussian processes with different kernels, and their average with the least leave-one-out error.

    No kernel is best on all tables, and the likelihood often prefers one that does not predict best. Here
    each kernel is learned by a `kflow.GPRegressor` of its own, and predictions are

    .. math:: m(x) = \sum_k w_k m_k(x), \qquad
              s^2(x) = c \sum_k w_k \left(s_k^2(x) + (m_k(x) - m(x))^2\right)

    with weights w that are not negative and have the sum 1: those for which the sum of the squared
    leave-one-out errors is least (stacking; Wolpert 1992, Breiman 1996), where equal weights are
    preferred by three times |w|^2 and the mean squared error of the best member. The factor c makes
    leave-one-out errors as large as predicted, in the mean square.

    Parameters
    ----------
    kernels : sequence of kflow.kernels.Kernel, or None
        The kernels of scaled points that learning starts from, one for each member. None: that of
        `kflow.GPRegressor`; a rational quadratic with one length scale; a Matern 3/2 with a length scale
        for each column; and up to 16 columns a sum of Matern 5/2 kernels of one column each. All have a
        linear part.
    estimator : GPRegressor or None
        How each member is fitted: its `kernel`, `random_state` and `n_threads` are replaced, and its
        `solver` must not be "subset". None: with
        ``learn="map"``, its other parameters being the defaults.
    log_targets : {"auto", "never"}
        ``"auto"``: if all targets are positive, there is a further member with the first kernel, a process of
        the logarithms of the targets. It predicts at most twice the largest target of the training data.
    random_state : None, int, RandomState, Generator or SeedSequence
        Source of randomness of the members, and of the rows by which weights are found.
    n_threads : int, optional
        Number of threads; see `kflow.get_num_threads`. The result does not depend on it.

    Attributes
    ----------
    estimators_ : list of GPRegressor
        The fitted members. The last may be one of logarithms, see `is_logarithmic_`.
    weights_ : ndarray, shape (n_members, m)
        The weights of the members for each output.
    errors_ : ndarray, shape (n_members, m)
        Their root mean squared leave-one-out errors, in units of y.
    variance_factor_ : ndarray, shape (m,)
        The factor c of each output.
    is_logarithmic_ : list of bool
        Which members are processes of log y.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X has them.

    Notes
    -----
    A fit and a prediction cost as much as those of the members together. Of more than 2000 rows, 2000
    drawn at random are predicted from each other for the weights. Kernels and nuggets of the members
    have seen all rows, so that flexible kernels look a little better than they are.

    The deviations are those of the mixture of the members' normal distributions; a process of
    logarithms counts with mean and variance of its log-normal distribution. A member that cannot be
    fitted is left out with a `LearningWarning`.

    References
    ----------
    D. H. Wolpert, Stacked generalization, Neural Networks 5 (1992), 241-259.

    L. Breiman, Stacked regressions, Machine Learning 24 (1996), 49-64.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> import kflow
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = kflow.StackedGPRegressor(random_state=0).fit(X[:200], y[:200])
    >>> mean, std = model.predict(X[200:], return_std=True)
    >>> mean.shape, model.weights_.shape, bool(abs(model.weights_.sum() - 1.0) < 1e-12)
    ((242,), (5, 1), True)
    """

    def __init__(
        self,
        kernels: Sequence[Kernel] | None = None,
        *,
        estimator: GPRegressor | None = None,
        log_targets: str = "auto",
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        keep_parameters(self, locals())

    # ---- fit ----------------------------------------------------------------------------------

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> StackedGPRegressor:
        """Fit the members, and find their weights.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points.
        y : array_like, shape (N,) or (N, m)
            Targets. Each output has its own weights.
        sample_weight : array_like, shape (N,), optional
            Weights of the rows as in `GPRegressor.fit`; squared errors count in proportion to them.

        Returns
        -------
        StackedGPRegressor
            The estimator itself.

        Raises
        ------
        DivergenceError, SingularKernelError
            If no member can be fitted.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Warns
        -----
        LearningWarning
            If a member is left out, because it could not be fitted.
        JitterWarning, sklearn.exceptions.ConvergenceWarning
            As `GPRegressor.fit` does.

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
            if weights is not None:
                rows = np.flatnonzero(weights)
                points, values, weights = points[rows], values[rows], weights[rows]
            processes, are_of_logarithms = self._processes(points.shape[1], values)
            seed = seed_of(self.random_state)
            self._members = self._fitted(
                processes, are_of_logarithms, points, values, weights, seed
            )
            self._one_dimensional = values.ndim == 1
            self._weigh(values.reshape(len(values), -1), weights, np.random.default_rng(seed))
        return self

    def _processes(self, d: int, y: Doubles) -> tuple[list[GPRegressor], list[bool]]:
        """Return the members to fit, and which of them are to be fitted to logarithms."""
        template = GPRegressor(learn="map") if self.estimator is None else self.estimator
        if not isinstance(template, GPRegressor):
            raise TypeError(
                f"estimator must be a GPRegressor or None, not a {type(template).__name__}"
            )
        if template.kernel is not None:
            raise ValueError(
                "estimator.kernel must be None: pass the kernels of the members as kernels"
            )
        if self.kernels is None:
            kernels = default_kernels(d)
        else:
            if isinstance(self.kernels, Kernel):
                raise TypeError("kernels must be a sequence of kernels, not a kernel")
            kernels = [check_kernel(kernel) for kernel in self.kernels]
            if not kernels:
                raise ValueError("kernels must hold at least one kernel, or be None")
        if template.solver == "subset":
            raise ValueError(
                'estimator.solver must not be "subset", since all members learn from the same rows: pass '
                "fewer rows to fit instead"
            )
        as_choice(self.log_targets, "log_targets", ("auto", "never"))
        has_logarithms = self.log_targets == "auto" and bool((y > 0.0).all())
        if has_logarithms:
            kernels = [*kernels, kernels[0]]
        processes = [
            clone(template).set_params(kernel=kernel, n_threads=self.n_threads)
            for kernel in kernels
        ]
        return processes, [False] * (len(kernels) - has_logarithms) + [True] * has_logarithms

    def _fitted(
        self,
        processes: Sequence[GPRegressor],
        are_of_logarithms: Sequence[bool],
        X: Doubles,
        y: Doubles,
        weights: Doubles | None,
        seed: int,
    ) -> list[Member]:
        """Return the members that can be fitted."""
        members: list[Member] = []
        failure: Exception | None = None
        for number, (process, of_logarithms) in enumerate(
            zip(processes, are_of_logarithms, strict=True)
        ):
            process.set_params(random_state=seed)
            try:
                with warnings.catch_warnings():
                    if self.kernels is None:
                        # What has no effect on y goes to a bound of a kernel that nobody has chosen.
                        warnings.simplefilter("ignore", BoundsWarning)
                    members.append(
                        Member.fitted(process, X, y, weights, of_logarithms=of_logarithms)
                    )
            except (DivergenceError, SingularKernelError) as error:
                failure = error
                warn_user(f"member {number} of the stack is left out: {error}", LearningWarning)
        if not members:
            assert failure is not None
            raise failure
        return members

    def _weigh(self, y: Doubles, weights: Doubles | None, rng: np.random.Generator) -> None:
        """Find weights, errors and the factor of variances by predictions of rows left out."""
        rows = drawn_rows(rng, len(y), _WEIGHT_ROWS)
        all_rows, y = len(rows) == len(y), y[rows]
        counts = np.ones((len(y), 1)) if weights is None else weights[rows, None]
        counts = counts / counts.mean()
        n_members, m = len(self._members), y.shape[1]
        # The factor of all rows is at hand, but with conjugate gradients.
        all_factored = all_rows and all(
            member.process.solver_ == "cholesky" for member in self._members
        )
        left_out = [member.left_out(None if all_factored else rows) for member in self._members]
        means = np.stack([mean for mean, _ in left_out])
        variances = np.stack([variance for _, variance in left_out])
        errors = (means - y) * np.sqrt(counts)
        self.errors_ = np.sqrt(np.mean(np.square(errors), axis=1))
        self.weights_ = np.empty((n_members, m))
        self.variance_factor_ = np.ones(m)
        for j in range(m):
            self.weights_[:, j] = least_squares_on_simplex(errors[:, :, j].T, _RIDGE)
        mean, variance = _mixture(self.weights_, means, variances)
        if len(y) > 1:
            squares = np.square(mean - y) / np.maximum(variance, np.finfo(np.float64).tiny)
            factor = np.mean(squares, axis=0)
            self.variance_factor_ = np.where(factor > 0.0, factor, 1.0)

    def add_rows(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> StackedGPRegressor:
        """Take in further rows; kernels, nuggets and the weights of the members stay.

        Parameters
        ----------
        X : array_like, shape (q, d)
            Further points.
        y : array_like, shape (q,) or (q, m)
            Their targets.
        sample_weight : array_like, shape (q,), optional
            Their weights.

        Returns
        -------
        StackedGPRegressor
            The estimator itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError, SingularKernelError
            Before `fit`; if a kernel matrix is not positive definite.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them; if a member is a process of
            logarithms and a target is not positive.

        Notes
        -----
        As `GPRegressor.add_rows`, for each member. If it fails, the estimator stays as it was.
        """
        check_is_fitted(self)
        with restored_on_failure(self):
            points, values = validated(
                self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, reset=False
            )
            values = np.asarray(values, np.float64)
            if any(self.is_logarithmic_) and not (values > 0.0).all():
                raise ValueError(
                    "y must be positive, since a member is a process of its logarithms: fit again with "
                    'these rows, or with log_targets="never"'
                )
            self._members = [
                member.with_rows(points, values, sample_weight) for member in self._members
            ]
        return self

    # ---- predictions --------------------------------------------------------------------------

    def predict(
        self,
        X: npt.ArrayLike,
        return_std: bool = False,
        return_cov: bool = False,
        *,
        include_noise: bool = True,
    ) -> Any:
        """Return the mean, and the standard deviation or the covariance if wanted.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points at which to predict, one in each row.
        return_std, return_cov : bool
            Whether to return the standard deviation, or the joint covariance of all rows, as well.
        include_noise : bool
            Whether deviation and covariance are those of observations, noise included, or those of
            the function below the noise.

        Returns
        -------
        mean : ndarray, shape (n,) or (n, m)
            The mean, in the units and the shape of y.
        std : ndarray, shape of `mean`
            The standard deviation, if `return_std` is true.
        cov : ndarray, shape (n, n) or (n, n, m)
            The covariance of the rows for each output, if `return_cov` is true.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values, or if both deviation and covariance are asked for.

        Notes
        -----
        The cost is that of `GPRegressor.predict` for each member whose weight is not 0.
        """
        wants_std, wants_cov = as_flag(return_std, "return_std"), as_flag(return_cov, "return_cov")
        if wants_std and wants_cov:
            raise ValueError(
                "return_std and return_cov cannot both be true: the diagonal of the covariance is the "
                "square of the deviation"
            )
        noise = as_flag(include_noise, "include_noise")
        points = self._points(X)
        members, weights = self._weighty()
        if wants_cov:
            pairs = [member.covariance(points, noise=noise) for member in members]
            means = np.stack([mean for mean, _ in pairs])
            mean = _average(weights, means)
            covariance = np.zeros((len(points), *mean.shape))
            for w, (own, cov) in zip(weights, pairs, strict=True):
                away = own - mean
                covariance += w * (cov + away[:, None] * away[None, :])
            covariance *= self.variance_factor_
            return self._in_shape_of_y(mean), (
                covariance[:, :, 0] if self._one_dimensional else covariance
            )
        if not wants_std:
            means = np.stack([member.mean(points) for member in members])
            return self._in_shape_of_y(_average(weights, means))
        pairs = [member.moments(points, noise=noise) for member in members]
        means, variances = (np.stack(parts) for parts in zip(*pairs, strict=True))
        mean, variance = _mixture(weights, means, variances)
        std = np.sqrt(self.variance_factor_ * variance)
        return self._in_shape_of_y(mean), self._in_shape_of_y(std)

    def sample_y(
        self,
        X: npt.ArrayLike,
        n_samples: int = 1,
        random_state: Any = 0,
        *,
        include_noise: bool = True,
    ) -> Doubles:
        """Draw joint samples at some points: each of a member that is drawn by its weight.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points, one in each row.
        n_samples : int
            How many samples to draw.
        random_state : None, int, RandomState, Generator or SeedSequence
            Source of randomness.
        include_noise : bool
            Whether to draw observations, or functions below the noise.

        Returns
        -------
        ndarray, shape (n, n_samples) or (n, m, n_samples)
            The samples, in the units of y. Their distance from the mean is multiplied by the root of
            `variance_factor_`, so that their covariance is that of `predict`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        As much as `GPRegressor.sample_y` for each member whose weight is not 0.
        """
        count = as_count(n_samples, "n_samples", 1)
        noise = as_flag(include_noise, "include_noise")
        points = self._points(X)
        members, weights = self._weighty()
        rng = np.random.default_rng(seed_of(random_state))
        drawn = np.stack(
            [member.samples(points, count, rng, noise=noise) for member in members]
        )  # (members, n, m, samples)
        means = np.stack([member.mean(points) for member in members])
        mean = _average(weights, means)
        m = mean.shape[1]
        chosen = np.stack([rng.choice(len(members), count, p=weights[:, j]) for j in range(m)])
        samples = np.take_along_axis(drawn, chosen[None, None], axis=0)[0]
        spread = np.sqrt(self.variance_factor_)[:, None]
        samples = mean[:, :, None] + spread * (samples - mean[:, :, None])
        return np.asarray(samples[:, 0] if self._one_dimensional else samples)

    def _points(self, X: npt.ArrayLike) -> Doubles:
        check_is_fitted(self)
        return np.asarray(validated(self, X, dtype=np.float64, reset=False))

    def _weighty(self) -> tuple[list[Member], Doubles]:
        """Return the members that count, and their weights."""
        counts = np.asarray(self.weights_.any(axis=1))
        members = [member for member, some in zip(self._members, counts, strict=True) if some]
        return members, self.weights_[counts]

    def _in_shape_of_y(self, values: Doubles) -> Doubles:
        return np.asarray(values[:, 0] if self._one_dimensional else values)

    # ---- what was learned ---------------------------------------------------------------------

    @property
    def estimators_(self) -> list[GPRegressor]:
        """The fitted members."""
        return [member.process for member in self._members]

    @property
    def is_logarithmic_(self) -> list[bool]:
        """Which members are processes of log y."""
        return [member.highest is not None for member in self._members]

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the members have weights."""
        return hasattr(self, "weights_")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _average(weights: Doubles, parts: Doubles) -> Doubles:
    """Return the sum, (n, m), of parts (k, n, m) with weights (k, m)."""
    return np.asarray(np.einsum("kj,kij->ij", weights, parts))


def _mixture(weights: Doubles, means: Doubles, variances: Doubles) -> tuple[Doubles, Doubles]:
    """Return mean and variance, (n, m), of mixtures with weights (k, m) of parts (k, n, m)."""
    mean = _average(weights, means)
    spread = variances + np.square(means - mean)
    return mean, _average(weights, spread)
