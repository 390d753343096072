"""What a fitted Gaussian process tells: means, deviations, covariances, samples, likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag, as_positive
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.scaling import Preprocessing
from kflow.engine.threads import single_threaded_blas
from kflow.estimators.gp_posterior import Posterior
from kflow.estimators.target_scaling import TargetScaling
from kflow.estimators.validation import seed_of, validated
from kflow.kernels import Kernel

__all__ = ["GPPredictions"]


class GPPredictions:
    """Predictions of a Gaussian process, for an estimator that has been fitted.

    Attributes
    ----------
    kernel_, nugget_, scale_, scaling_
        As documented for `kflow.GPRegressor`.
    """

    kernel_: Kernel
    nugget_: float
    scale_: Doubles
    scaling_: Preprocessing
    n_threads: int | None
    max_memory: float
    _posterior: Posterior
    _target_scaling: TargetScaling

    def _scaled(self, X: npt.ArrayLike) -> FloatArray:
        """Return scaled points, if they have the features of the training data."""
        check_is_fitted(self)
        points = validated(self, X, dtype=np.float64, reset=False)
        return np.ascontiguousarray(self.scaling_(points))

    def predict(
        self,
        X: npt.ArrayLike,
        return_std: bool = False,
        return_cov: bool = False,
        *,
        include_noise: bool = True,
    ) -> Any:
        """Return the posterior mean, and the standard deviation or the covariance if wanted.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points at which to predict, one in each row.
        return_std : bool
            Whether to return the standard deviation as well.
        return_cov : bool
            Whether to return the joint covariance of all rows as well.
        include_noise : bool
            Whether deviation and covariance are those of observations, noise included, or those of
            the function below the noise. With the noise, mean +- 1.96 std is an interval of 95 % for
            observations. With weights the noise is that of a row of median weight.

        Returns
        -------
        mean : ndarray, shape (n,) or (n, m)
            The mean, in the units and the shape of y.
        std : ndarray, shape of `mean`
            The standard deviation, if `return_std` is true.
        cov : ndarray, shape (n, n) or (n, n, m)
            The covariance of the rows for each output, if `return_cov` is true. Outputs are
            independent of each other.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values, or if both deviation and covariance are asked for.

        Notes
        -----
        Each row takes N evaluations of the kernel. A deviation takes N^2 flops more, or
        ``subset_size^2`` after conjugate gradients. A covariance takes as much for each row, n^2 N flops
        and 8 n^2 bytes for each output.
        """
        wants_std, wants_cov = as_flag(return_std, "return_std"), as_flag(return_cov, "return_cov")
        if wants_std and wants_cov:
            raise ValueError(
                "return_std and return_cov cannot both be true: the diagonal of the covariance is the "
                "square of the deviation"
            )
        noise = as_flag(include_noise, "include_noise")
        points = self._scaled(X)
        mean = self._target_scaling.undone(self._posterior.mean(points, self.n_threads))
        if wants_cov:
            covariance = self._covariance(points, noise)
            if self._target_scaling.one_dimensional:
                return mean, covariance * self.scale_[0] ** 2
            return mean, covariance[:, :, None] * self.scale_**2
        if not wants_std:
            return mean
        variances = self._posterior.variances(points, self.n_threads)
        if noise:
            variances += self.nugget_
        deviations = np.sqrt(variances)[:, None] * self.scale_
        return mean, self._target_scaling.in_shape_of_y(deviations)

    def _covariance(self, points: FloatArray, noise: bool) -> Doubles:
        """Return the covariance of rows of scaled points in units of the amplitude, (n, n)."""
        covariance = self._posterior.covariance(points, self.n_threads)
        if noise:
            covariance.flat[:: len(points) + 1] += self.nugget_
        return covariance

    def leave_one_out(self, rows: npt.ArrayLike | None = None) -> tuple[Doubles, Doubles]:
        """Return how training rows are predicted, each from all others, with kernel and nugget as they are.

        Their errors, ``y[rows] - mean``, estimate those of new rows, a little too low, since kernel and
        nugget have been learned from these rows, too.

        Parameters
        ----------
        rows : array_like of int, optional
            Numbers of rows of `X_train_`, each once: each is predicted from the others of them. None:
            all rows, in the order of `X_train_`, which is that of `fit` but with "subset", or
            weights of 0.

        Returns
        -------
        mean, std : ndarray, shape (n,) or (n, m)
            Mean and standard deviation of each row's observation, in the units of y.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        SingularKernelError
            If the matrix of the rows is not positive definite.
        TypeError, ValueError
            If `rows` are no numbers of rows; or None, and the matrix of all rows was not factored.

        Notes
        -----
        The matrix of n rows is factored, n^3 flops.
        """
        check_is_fitted(self)
        chosen = None
        if rows is not None:
            chosen = np.asarray(rows)
            n = len(self._posterior.points)
            if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
                raise TypeError("rows must be whole numbers in one dimension, or None")
            if len(np.unique(chosen)) < len(chosen):
                raise ValueError("rows must not hold a number twice")
            if not len(chosen) or chosen.min() < 0 or chosen.max() >= n:
                raise ValueError(f"rows must be numbers from 0 to {n - 1}, and at least one")
            chosen = chosen.astype(np.intp)
        elif not self._posterior.is_factored:
            raise ValueError(
                "rows: the matrix of all rows was not factored, since they are many; pass the numbers "
                "of some hundred or thousand rows, which are then predicted from each other"
            )
        mean, variances = self._posterior.left_out(chosen, self.n_threads)
        scaling = self._target_scaling
        return scaling.undone(mean), scaling.in_shape_of_y(np.sqrt(variances) * self.scale_)

    def sample_y(
        self,
        X: npt.ArrayLike,
        n_samples: int = 1,
        random_state: Any = 0,
        *,
        include_noise: bool = True,
    ) -> Doubles:
        """Draw samples of the posterior at some points, jointly.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points, one in each row.
        n_samples : int
            How many samples to draw.
        random_state : None, int, RandomState, Generator or SeedSequence
            Source of randomness.
        include_noise : bool
            Whether to draw observations, as `predict` predicts them, or functions below the noise.

        Returns
        -------
        ndarray, shape (n, n_samples) or (n, m, n_samples)
            The samples, in the units of y. Outputs are independent of each other.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        The mean plus V sqrt(D) z, with the eigenvectors V and the eigenvalues D of the covariance,
        those below zero by rounding errors taken as 0: about 10 n^3 flops.
        """
        count = as_count(n_samples, "n_samples", 1)
        noise = as_flag(include_noise, "include_noise")
        points = self._scaled(X)
        mean = self._posterior.mean(points, self.n_threads)
        n, m = mean.shape
        rng = np.random.default_rng(seed_of(random_state))
        with single_threaded_blas:
            eigenvalues, eigenvectors = np.linalg.eigh(self._covariance(points, noise))
            roots = eigenvectors * np.sqrt(np.maximum(eigenvalues, 0.0))
            draws = (roots @ rng.standard_normal((n, m * count))).reshape(n, m, count)
        scaling = self._target_scaling
        centre = mean * scaling.scale + scaling.mean
        samples = centre[:, :, None] + draws * self.scale_[:, None]
        return np.asarray(samples[:, 0] if scaling.one_dimensional else samples)

    # ---- the likelihood -----------------------------------------------------------------------

    @property
    def theta_(self) -> Doubles:
        """The logarithms of all parameters of the fitted process, shape (p + 1 + m,).

        First `kernel_.theta`, then the logarithm of `nugget_`, then those of `scale_`.
        """
        check_is_fitted(self)
        with np.errstate(divide="ignore"):
            return np.concatenate([self.kernel_.theta, [np.log(self.nugget_)], np.log(self.scale_)])

    def log_marginal_likelihood(
        self, theta: npt.ArrayLike | None = None, eval_gradient: bool = False
    ) -> Any:
        """Return the log marginal likelihood of the training targets.

        It is the log density of y, in its units, under the process with mean `y`'s mean, amplitudes s and
        covariances s^2 (K + nugget I): the sum over the outputs.

        Parameters
        ----------
        theta : array_like, shape (p + 1 + m,), optional
            Logarithms of the parameters, in the order of `theta_`: those of the kernel, as in
            ``kernel_.theta``; the nugget; the amplitude of each output. None: those of the fit. A
            nugget of 0 has the logarithm -inf.
        eval_gradient : bool
            Whether to return the gradient with respect to `theta` as well.

        Returns
        -------
        value : float
            The log marginal likelihood.
        gradient : ndarray, shape (p + 1 + m,)
            Its derivatives, if `eval_gradient` is true.

        Raises
        ------
        SingularKernelError
            If the covariance is not positive definite.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a `theta` of the wrong shape; if an output is constant, of which there is no density;
            or if the N x N matrices do not fit into `max_memory`.

        Notes
        -----
        N^3 / 3 flops, with the gradient N^3 and two N x N matrices more. With the solver "subset" it is the likelihood of the
        rows that take part.

        The parameters of `sklearn.gaussian_process` are those of one kernel in which amplitude and
        noise are terms, and the targets there are standardised if ``normalize_y=True``.

        References
        ----------
        C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning (2006), equations
        5.8 and 5.9.
        """
        check_is_fitted(self)
        wants_gradient = as_flag(eval_gradient, "eval_gradient")
        posterior = self._posterior
        n = len(posterior.points)
        if not (self.scale_ > 0.0).all():
            raise ValueError(
                f"y: output {int(np.argmin(self.scale_))} is constant, and has no likelihood: leave it out"
            )
        if 8.0 * n * n > as_positive(self.max_memory, "max_memory"):
            raise ValueError(
                f"the likelihood of {n} rows takes matrices of {8.0 * n * n / 2**30:.1f} GiB, more than "
                "max_memory: pass a larger one, or solver='subset'"
            )
        kernel, nugget, scale = self.kernel_, self.nugget_, self.scale_
        if theta is not None:
            kernel, nugget, scale = self._parameters_at(theta)
        value, gradient = posterior.log_likelihood(
            kernel,
            nugget,
            scale / self._target_scaling.scale,
            gradient=wants_gradient,
            n_threads=self.n_threads,
        )
        # The density of y, and not that of scaled targets.
        value -= n * float(np.log(self._target_scaling.scale).sum())
        return (value, gradient) if wants_gradient else value

    def _parameters_at(self, theta: npt.ArrayLike) -> tuple[Kernel, float, Doubles]:
        """Return the kernel, the nugget and the amplitudes for which a vector stands."""
        vector = np.asarray(theta, np.float64)
        p, m = len(self.kernel_.theta), len(self.scale_)
        if vector.shape != (p + 1 + m,):
            raise ValueError(
                f"theta must have shape ({p + 1 + m},), {p} parameters of the kernel, the nugget and "
                f"{m} amplitudes; got {vector.shape}"
            )
        others = np.delete(vector, p)
        if not np.isfinite(others).all() or not vector[p] < np.inf:
            raise ValueError("theta contains NaN or infinity: pass logarithms of positive numbers")
        kernel = self.kernel_.clone_with_theta(vector[:p]) if p else self.kernel_
        return kernel, float(np.exp(vector[p])), np.exp(vector[p + 1 :])
