"""A classifier: a kernel flow, and an interpolant of one-hot labels."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from kflow._base.arguments import as_count, as_flag, as_nugget
from kflow._base.array_types import FloatArray
from kflow.errors import ModelFileError
from kflow.estimators.base import (
    MAX_INTERPOLATION,
    VALIDATION,
    FitRows,
    KernelFlowEstimator,
)
from kflow.estimators.earlier_fit import restored_on_failure
from kflow.estimators.flow_parameters import with_flow_parameters
from kflow.estimators.parameters import keep_parameters
from kflow.flow.callbacks import Callback
from kflow.kernels import Radial
from kflow.linear.interpolant import balanced_subset
from kflow.linear.simplex import onto_simplex
from kflow.operations import one_hot
from kflow.stopping import CollapseStopping, hold_out
from kflow.storage.model_file import ModelReader

__all__ = ["KernelFlowClassifier"]

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
"""


@with_flow_parameters(balanced=", the same number of each class", own=_EARLY_STOPPING)
class KernelFlowClassifier(ClassifierMixin, KernelFlowEstimator):  # type: ignore[misc]
    """Classifier by a kernel flow and an interpolant of one-hot labels.

    The defaults were chosen by five-fold cross-validation on small data sets of several kinds (iris,
    wine, breast cancer, moons, circles, a noisy exclusive-or), and the regressor has the same. Small
    batches and a large nugget lower the error where a plain kernel does badly, and keep it where a
    plain kernel does well (``bench/defaults.py`` prints the comparison). Data with many points per
    class and structure at small scales, such as images, needs larger batches, more layers and a
    smaller nugget first: see ``kflow.presets``.

    {parameters}
    classes_ : ndarray, shape (n_classes,)
        The labels, in ascending order.
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
        kernel: Radial | None = None,
        *,
        n_layers: int = 100,
        batch_size: int = 100,
        coarse_fraction: float = 0.5,
        nugget: Any = 3.0,
        step: Any = "rms",
        step_size: Any = 0.01,
        step_over: str = "all",
        gradient_cap: Any = math.inf,
        n_halves: int = 2,
        n_interpolation: int | None = None,
        interpolation_nugget: float = 1.0,
        scaling: str | None = "standard",
        rank: str | int | float | None = None,
        shrink_every: int = 0,
        shrink_tolerance: float = 1e-4,
        dtype: str = "float32",
        random_state: Any = None,
        n_threads: int | None = None,
        layers: str = "memory",
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 20,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
    ) -> None:
        keep_parameters(self, locals())

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        follow: Mapping[str, npt.ArrayLike] | None = None,
        *,
        resume: bool = False,
    ) -> KernelFlowClassifier:
        """Fit the flow and the interpolant.

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
            points, labels = validate_data(
                self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=4
            )
            check_classification_targets(labels)
            self.classes_, codes = np.unique(labels, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y has one class only ({self.classes_[0]!r}), a classifier needs at least two"
                )
            seeds = self._seeds()
            data = FitRows(points, one_hot(codes))
            if as_flag(self.early_stopping, "early_stopping"):
                data = self._without_held_out(data, labels, np.random.default_rng(seeds.hold_out))
            self.stopping_ = data.stopping
            self._check_n_interpolation(labels if data.rows is None else labels[data.rows])
            self._fit(data, follow, seeds, resume=resume)
        return self

    def _without_held_out(
        self, data: FitRows, labels: npt.NDArray[Any], rng: np.random.Generator
    ) -> FitRows:
        """Return the rows that are not held out, with those that are, and what may end the flow."""
        kept, held = hold_out(labels, self.validation_fraction, rng)
        n_layers = as_count(self.n_layers, "n_layers", 0)
        stopping = CollapseStopping(
            labels[kept],
            labels[held],
            nugget=as_nugget(self.interpolation_nugget, "interpolation_nugget"),
            every=min(max(1, n_layers // 20), _MAX_EVERY),
            rng=rng,
            n_interpolation=max(MAX_INTERPOLATION, 2 * len(self.classes_)),
            follow=VALIDATION,
        )
        return FitRows(data.points[kept], data.targets[kept], kept, stopping, data.points[held])

    def _check_n_interpolation(self, labels: npt.NDArray[Any]) -> None:
        """Raise an error before the flow, not after it, if the classes have too few rows."""
        if self.n_interpolation is None:
            return
        wanted = as_count(self.n_interpolation, "n_interpolation", 1)
        try:
            balanced_subset(labels, wanted, np.random.default_rng(0))
        except ValueError as error:
            raise ValueError(f"n_interpolation: {error}") from None

    def _interpolation_rows(
        self, targets: FloatArray, rng: np.random.Generator
    ) -> npt.NDArray[np.intp]:
        """Draw as many rows of each class as of the others, or as nearly so as the classes allow."""
        codes = targets.argmax(axis=1)
        if self.n_interpolation is not None:
            return balanced_subset(codes, self.n_interpolation, rng)
        if len(codes) <= MAX_INTERPOLATION:
            return np.arange(len(codes), dtype=np.intp)
        # Rows are taken in the order of their places within the shuffled classes.
        order = rng.permutation(len(codes))
        place = np.empty(len(codes), dtype=np.intp)
        for code in range(len(self.classes_)):
            rows = order[codes[order] == code]
            place[rows] = np.arange(len(rows))
        return order[np.argsort(place[order], kind="stable")[:MAX_INTERPOLATION]].astype(np.intp)

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
        labels: npt.NDArray[Any] = self.classes_[self._scores(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the probability vectors nearest to the interpolant's values, (n, n_classes).

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            As for `predict`.
        """
        check_is_fitted(self)
        return onto_simplex(self._scores(X))

    def _own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        classes = np.asarray(self.classes_)
        if classes.dtype.hasobject:
            if not all(isinstance(label, str) for label in classes):
                raise TypeError("y: labels that are neither numbers nor text cannot be saved")
            classes = classes.astype(np.str_)
        return {"classes": classes}

    def _set_own_arrays(self, reader: ModelReader, n_outputs: int) -> None:
        self.stopping_ = None  # it belongs to the run, not to the model
        self.classes_ = reader.array("own_classes", ndim=1)
        if len(self.classes_) != n_outputs:
            raise ModelFileError("the model's classes do not fit its interpolant")
