"""A classifier: a kernel flow, and an interpolant of one-hot labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag, as_nugget, shown
from kflow.errors import ModelFileError
from kflow.estimators.auto import is_auto
from kflow.estimators.base import MAX_INTERPOLATION, VALIDATION, KernelFlowEstimator
from kflow.estimators.calibration import softmax, temperature_of
from kflow.estimators.device_input import picked_labels, returned, validated_fit
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.fit_rows import FitRows
from kflow.estimators.flow_parameters import with_flow_parameters
from kflow.estimators.gradient_metric import GradientMetric
from kflow.estimators.parameters import keep_parameters
from kflow.estimators.selection.choose import OutOfFold
from kflow.estimators.selection.folds import proportional_rows
from kflow.estimators.weights import row_weights
from kflow.flow.callbacks import Callback
from kflow.kernels import Radial
from kflow.linear.interpolant import balanced_subset
from kflow.linear.simplex import onto_simplex
from kflow.operations import one_hot
from kflow.stopping import CollapseStopping, hold_out
from kflow.storage.model_file import ModelReader

__all__ = ["KernelFlowClassifier"]

# The interpolants by which early stopping decides: more points cost time and change next to nothing.
_MAX_STOPPING = 2000
_STOPPING_NUGGET = 1.0

# Layers between two evaluations of early stopping: each costs about as much as a few layers.
_MAX_EVERY = 50

_EARLY_STOPPING = """
    early_stopping : bool
        Whether to hold out a part of the training rows, and to end the flow before `n_layers` when
        they are classified as well from one point per class as from 2000, twice in succession. See
        `kflow.stopping.CollapseStopping`, which looks every ``n_layers // 20`` layers, 50 at most.
        The rows held out, ``flow_.follow_["validation"]``, have no influence on the scaling, the flow
        and the interpolant.
    validation_fraction : float
        Part of each class that `early_stopping` holds out, in (0, 1), one row at least. Two rows of
        each class must be left.
    class_weight : "balanced", mapping of label to float, or None
        Weights of the classes, with which those of the rows are multiplied, as in scikit-learn.
"""


@with_flow_parameters(
    balanced=", the same number of each class",
    proportional=", of each class its share",
    own=_EARLY_STOPPING,
)
class KernelFlowClassifier(ClassifierMixin, KernelFlowEstimator):  # type: ignore[misc]
    """Classifier by a kernel flow and an interpolant of one-hot labels.

    By default it chooses its kernel, a linear map of the features, whether a flow helps, and the nugget
    by the squared error on four folds of at most 1200 rows, and says in `selection_` what it chose and
    why. Each of these can be given instead. Data with many points per class and structure at small
    scales, such as images, need a flow of many layers with settings of their own: see
    ``kflow.presets``.

    {parameters}
    classes_ : ndarray, shape (n_classes,)
        The labels, in ascending order.
    temperature_ : float or None
        By what values are divided for probabilities. It has the least log loss on the rows that were
        left out by the folds; None if there were none, because nothing was "auto", there were too few
        rows, or the flow was not run on the folds.
    stopping_ : kflow.stopping.CollapseStopping or None
        The callback that holds the errors on the rows held out, and where they ended the flow. None
        without `early_stopping`, and after `kflow.load`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import kflow
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(kflow.KernelFlowClassifier(random_state=0).fit(X, y).score(X, y) > 0.95)
    True
    """

    def __init__(
        self,
        kernel: Radial | str | None = "auto",
        *,
        metric: GradientMetric | str | None = "auto",
        n_layers: int | str = "auto",
        batch_size: int | str = "auto",
        coarse_fraction: float = 0.5,
        nugget: Any = "auto",
        step: Any = "rms",
        step_size: Any = 0.02,
        step_over: str = "all",
        gradient_cap: Any = 1.0,
        n_halves: int = 2,
        n_interpolation: int | None = None,
        interpolation_nugget: float | str = "auto",
        scaling: str | None = "standard",
        rank: str | int | float | None = None,
        shrink_every: int = 0,
        shrink_tolerance: float = 1e-4,
        dtype: str = "float64",
        random_state: Any = None,
        n_threads: int | None = None,
        layers: str = "memory",
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 20,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
        device: str | None = None,
        precision: str = "float64",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
    ) -> None:
        keep_parameters(self, locals())

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        follow: Mapping[str, npt.ArrayLike] | None = None,
        *,
        resume: bool = False,
        sample_weight: npt.ArrayLike | None = None,
    ) -> KernelFlowClassifier:
        """Choose what is "auto", and fit the flow and the interpolant.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points, N >= 4.
        y : array_like, shape (N,)
            Labels of at least two classes.
        follow : mapping of str to array_like (n_i, d), optional
            Further points that the flow carries along without being influenced by them; they end in
            ``flow_.follow_``.
        resume : bool
            Whether to go on with the flow that the `checkpoint` holds, until it has `n_layers` layers.
            A flow is started where there is none yet. The data and all other settings must be the
            same.
        sample_weight : array_like, shape (N,), optional
            Weights of the rows, not negative; a row of weight 2 counts as two rows, and one of weight 0
            not at all. The scaling, the choice and the interpolant take account of them; the batches
            of the flow and a `metric` that is given do not.

        Returns
        -------
        KernelFlowClassifier
            The estimator itself.

        Raises
        ------
        BlockingIOError
            If another process runs the flow of the `checkpoint`.
        DivergenceError
            If a layer diverges. The estimator is then fitted with the last good layer.
        FileExistsError
            If the `checkpoint` holds a flow and `resume` is not asked for.
        ModelFileError
            If files of the `checkpoint` are damaged or missing, naming them.
        SingularKernelError
            If the kernel matrix of a batch is numerically singular. The estimator is then fitted with
            the last good layer. If the matrix of the interpolant is singular, ``flow_`` is the new
            flow, but there is no interpolant.
        StorageError
            If the layers will not fit where they are to be kept, which is found before the first
            layer. If a disk is full after all, the estimator is fitted with the last layer.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        A fit that fails before the flow has points, as it does for wrong arguments, leaves an earlier
        fit as it was.
        """
        with restored_on_failure(self, unless_new="flow_"):
            points, labels = validated_fit(self, X, y, self._engine(), fewest=4)
            check_classification_targets(labels)
            weights = row_weights(sample_weight, len(points), self.class_weight, labels)
            rows = None
            if weights is not None:
                rows = np.flatnonzero(weights > 0.0)
                points, labels, weights = points[rows], labels[rows], weights[rows]
            self.classes_, codes = np.unique(labels, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y has one class only ({shown(self.classes_[0])}), a classifier needs at least two"
                )
            seeds = self._seeds()
            data = FitRows(points, one_hot(codes), rows, weights=weights, codes=codes)
            if as_flag(self.early_stopping, "early_stopping"):
                data = self._without_held_out(data, labels, np.random.default_rng(seeds.hold_out))
            self.stopping_ = data.stopping
            self._check_n_interpolation(self.classes_[data.codes])
            self._fit(data, follow, seeds, resume=resume)
        return self

    def _without_held_out(
        self, data: FitRows, labels: npt.NDArray[Any], rng: np.random.Generator
    ) -> FitRows:
        """Return the rows that are not held out, with those that are, and what may end the flow."""
        if is_auto(self.n_layers):
            raise ValueError(
                'early_stopping ends a flow of a given number of layers: pass n_layers, not "auto"'
            )
        kept, held = hold_out(labels, self.validation_fraction, rng)
        n_layers = as_count(self.n_layers, "n_layers", 0)
        stopping = CollapseStopping(
            labels[kept],
            labels[held],
            nugget=self._stopping_nugget(),
            every=min(max(1, n_layers // 20), _MAX_EVERY),
            rng=rng,
            n_interpolation=max(_MAX_STOPPING, 2 * len(self.classes_)),
            follow=VALIDATION,
        )
        return FitRows(
            data.points[kept],
            data.targets[kept],
            kept if data.rows is None else data.rows[kept],
            stopping,
            data.points[held],
            None if data.weights is None else data.weights[kept],
            None if data.codes is None else data.codes[kept],
        )

    def _stopping_nugget(self) -> float:
        if is_auto(self.interpolation_nugget):
            return _STOPPING_NUGGET
        return as_nugget(self.interpolation_nugget, "interpolation_nugget")

    def _check_n_interpolation(self, labels: npt.NDArray[Any]) -> None:
        """Raise an error before the flow, not after it, if the classes have too few rows."""
        if self.n_interpolation is None:
            return
        wanted = as_count(self.n_interpolation, "n_interpolation", 1)
        try:
            balanced_subset(labels, wanted, np.random.default_rng(0))
        except ValueError as error:
            raise ValueError(f"n_interpolation: {error}") from None

    def _calibrate(self, out_of_fold: OutOfFold | None) -> None:
        found = out_of_fold
        self.temperature_ = (
            None
            if found is None
            else temperature_of(found.predictions, found.targets, found.weights)
        )

    def _interpolation_rows(self, data: FitRows, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Draw as many rows of each class if a number is given, else of each class its share."""
        codes = data.codes
        assert codes is not None
        if self.n_interpolation is not None:
            return balanced_subset(codes, self.n_interpolation, rng)
        return proportional_rows(len(codes), MAX_INTERPOLATION, codes, rng)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the labels for which the interpolant's values are largest, (n,).

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values, or if the layers were not kept.
        """
        check_is_fitted(self)
        numbers = self._scores(X).argmax(axis=1)
        labels: npt.NDArray[Any] = returned(picked_labels(self.classes_, numbers), X)
        return labels

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the interpolant's values, (n, n_classes).

        For two classes return the value of the second one minus that of the first, (n,).

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            As for `predict`.
        """
        check_is_fitted(self)
        scores = self._scores(X)
        values: npt.NDArray[np.float64] = returned(
            scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores, X
        )
        return values

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return probabilities of the classes, (n, n_classes).

        They are proportional to exp(value / `temperature_`), with the interpolant's values. Without a
        temperature they are the probability vectors nearest to the values, in which classes may have
        probability 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            As for `predict`.
        """
        check_is_fitted(self)
        scores = self._scores(X)
        probabilities: npt.NDArray[np.float64] = returned(
            onto_simplex(scores)
            if self.temperature_ is None
            else softmax(scores, self.temperature_),
            X,
        )
        return probabilities

    def _own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        classes = np.asarray(self.classes_)
        if classes.dtype.hasobject:
            if not all(isinstance(label, str) for label in classes):
                raise TypeError("y: labels that are neither numbers nor text cannot be saved")
            classes = classes.astype(np.str_)
        arrays = {"classes": classes}
        if self.temperature_ is not None:
            arrays["temperature"] = np.array([self.temperature_])
        return arrays

    def _set_own_arrays(self, reader: ModelReader, n_outputs: int) -> None:
        self.stopping_ = None  # it belongs to the run, not to the model
        self.classes_ = reader.array("own_classes", ndim=1)
        if len(self.classes_) != n_outputs:
            raise ModelFileError("the model's classes do not fit its interpolant")
        self.temperature_ = None
        if "own_temperature" in reader:  # files of early versions have none
            temperature = reader.array("own_temperature", ndim=1)
            if temperature.shape != (1,) or not 0.0 < float(temperature[0]) < np.inf:
                raise ModelFileError("the model's temperature is no positive number")
            self.temperature_ = float(temperature[0])
