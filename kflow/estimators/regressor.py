"""A regressor: a kernel flow, and an interpolant of standardised targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count
from kflow.errors import ModelFileError, damaged
from kflow.estimators.base import MAX_INTERPOLATION, KernelFlowEstimator
from kflow.estimators.device_input import returned, validated_fit
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.fit_rows import FitRows
from kflow.estimators.flow_parameters import with_flow_parameters
from kflow.estimators.target_scaling import TargetScaling, read_outputs
from kflow.estimators.weights import row_weights
from kflow.storage.model_file import ModelReader

__all__ = ["KernelFlowRegressor"]


@with_flow_parameters(balanced=", drawn at random")
class KernelFlowRegressor(RegressorMixin, KernelFlowEstimator):  # type: ignore[misc]
    """Regressor by a kernel flow and an interpolant of standardised targets.

    The defaults are those of `KernelFlowClassifier`: kernel, linear map, flow and nugget are chosen by
    the squared error on folds.

    {parameters}

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> import kflow
    >>> X, y = make_friedman1(200, random_state=0)
    >>> bool(kflow.KernelFlowRegressor(random_state=0).fit(X, y).score(X, y) > 0.8)
    True
    """

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        follow: Mapping[str, npt.ArrayLike] | None = None,
        *,
        resume: bool = False,
        sample_weight: npt.ArrayLike | None = None,
    ) -> KernelFlowRegressor:
        """Choose what is "auto", and fit the flow and the interpolant.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points, N >= 4.
        y : array_like, shape (N,) or (N, q)
            The values to learn, one row for each point.
        follow : mapping of str to array_like (n_i, d), optional
            Further points that the flow carries along; they end in ``flow_.follow_``.
        resume : bool
            Whether to go on with the flow that the `checkpoint` holds, until it has `n_layers` layers.
            A flow is started where there is none yet. The data and all other settings must be the
            same.
        sample_weight : array_like, shape (N,), optional
            Weights of the rows, as in `KernelFlowClassifier.fit`.

        Returns
        -------
        KernelFlowRegressor
            The estimator itself.

        Raises
        ------
        BlockingIOError, DivergenceError, FileExistsError, ModelFileError, SingularKernelError
            As for `KernelFlowClassifier.fit`.
        StorageError, TypeError, ValueError
            As for `KernelFlowClassifier.fit`.
        """
        with restored_on_failure(self, unless_new="flow_"):
            points, values = validated_fit(
                self, X, y, self._engine(), fewest=4, multi_output=True, y_numeric=True
            )
            values = np.asarray(values, dtype=np.float64)
            weights, rows = row_weights(sample_weight, len(points)), None
            if weights is not None:
                rows = np.flatnonzero(weights > 0.0)
                points, values, weights = points[rows], values[rows], weights[rows]
            if (values == values[0]).all():
                raise ValueError("y is constant, from which nothing can be learned: pass others")
            self._target_scaling = TargetScaling.fit(values, weights)
            self._n_interpolation(len(points))  # fails before the flow, not after it
            data = FitRows(points, self._target_scaling(values), rows, weights=weights)
            self._fit(data, follow, self._seeds(), resume=resume)
        return self

    def _n_interpolation(self, n_rows: int) -> int:
        """Return the number of interpolation points, of so many rows."""
        if self.n_interpolation is None:
            return min(n_rows, MAX_INTERPOLATION)
        wanted = as_count(self.n_interpolation, "n_interpolation", 1)
        if wanted > n_rows:
            raise ValueError(f"n_interpolation={wanted} exceeds the {n_rows} rows of X")
        return wanted

    def _interpolation_rows(self, data: FitRows, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Draw rows at random."""
        n = len(data.points)
        return np.sort(rng.choice(n, self._n_interpolation(n), replace=False)).astype(np.intp)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the interpolant's values in the units of y, (n,) or (n, q).

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values, or if the layers were not kept.
        """
        check_is_fitted(self)
        values: npt.NDArray[np.float64] = returned(self._target_scaling.undone(self._scores(X)), X)
        return values

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "target_mean": self._target_scaling.mean,
            "target_scale": self._target_scaling.scale,
            "one_dimensional": np.array([self._target_scaling.one_dimensional]),
        }

    def _set_own_arrays(self, reader: ModelReader, n_outputs: int) -> None:
        mean = read_outputs(reader, "own_target_mean", n_outputs)
        scale = read_outputs(reader, "own_target_scale", n_outputs)
        one_dimensional = reader.array("own_one_dimensional", ndim=1)
        if one_dimensional.shape != (1,) or one_dimensional.dtype.kind != "b":
            raise ModelFileError("the model's own_one_dimensional is no truth value")
        with damaged("targets"):
            self._target_scaling = TargetScaling(mean, scale, bool(one_dimensional[0]))
