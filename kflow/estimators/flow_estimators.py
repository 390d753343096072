"""Scikit-learn estimators: scaling, a kernel flow, and an interpolant of the flowed points."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from kflow._base.arguments import as_count, as_flag, as_nugget, float_dtype
from kflow._base.array_types import FloatArray
from kflow.data.scaling import Preprocessing, standardisation
from kflow.errors import ModelFileError, damaged
from kflow.estimators.input_files import input_arrays, read_inputs
from kflow.estimators.kernel_parameters import KernelParameters
from kflow.flow.callbacks import Callback
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.schedules import SCHEDULES, Schedule
from kflow.kernels import Kernel, Radial, from_dict
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.linear.simplex import onto_simplex
from kflow.operations import one_hot
from kflow.stopping import CollapseStopping, hold_out
from kflow.storage.model_file import ModelReader, write_model

__all__ = ["KernelFlowClassifier", "KernelFlowRegressor"]

# Interpolation points when n_interpolation is None: more cost time and gain next to nothing.
_MAX_INTERPOLATION = 2000

# Layers between two evaluations of early stopping: each costs about as much as a few layers.
_MAX_EVERY = 50

# Under which name the flow follows the rows held out.
_VALIDATION = "validation"

_PARAMETERS = """
    Parameters
    ----------
    kernel : kflow.kernels.Radial or None
        Kernel of the flow and of the interpolant. None: a Gaussian exp(-1.5 r^2 / msd), msd the
        mean squared distance of the scaled data.
    n_layers : int
        Layers of the flow.
    batch_size : int
        Points drawn in each layer; all of them if the data has fewer.
    coarse_fraction : float
        Part of the batch that must predict the rest, in (0, 1).
    nugget : float, mapping or callable
        Nugget of the flow; may be a schedule, as in `kflow.KernelFlow`.
    step, step_size : str and float, mapping or callable
        Step rule and its size, as in `kflow.KernelFlow`.
    step_over : {{"all", "batch"}}
        Over which points the rule is measured, as in `kflow.KernelFlow`.
    gradient_cap : float, mapping or callable
        Longest row of the gradient, in medians of their lengths, as in `kflow.KernelFlow`.
    n_halves : int
        Coarse subsets of one batch over which rho is averaged.
    n_interpolation : int or None
        Training points of the final interpolant{balanced}. None: all, or 2000 of them if there are
        more.
    interpolation_nugget : float
        Nugget of the final interpolant.
    scaling : {{"standard", "unit"}} or None
        ``"standard"``: each feature to mean 0 and variance 1. ``"unit"``: each row to norm 1, for
        images. None: the data as it is.
    rank : None, "auto", int or float
        Run the flow in the leading right singular vectors of the scaled data, as in
        `kflow.KernelFlow`: ``"auto"`` for the numerical rank, so many, or as few as drop at most
        that part of the sum of squares. No scaled copy of the data is made then. None: all
        coordinates.
    shrink_every, shrink_tolerance : int and float
        Drop directions that the flow no longer needs, as in `kflow.KernelFlow`.
    dtype : {{"float32", "float64"}}
        Precision of the points.
    random_state : None, int or numpy.random.RandomState
        Source of the batches and of the interpolation points.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.
    layers : "memory" or "none"
        Whether the flow keeps its layers. With "none" the estimator can neither transform nor
        predict: only ``flow_.points_`` and ``flow_.follow_`` are of use.
    checkpoint : path, optional
        A folder that keeps the flow, so that ``fit(..., resume=True)`` goes on after whatever ended
        the process, as in `kflow.KernelFlow`; `random_state` must be an int. A folder that holds a
        flow already is refused without `resume`, so that cross-validation, which fits several times,
        cannot use one.
    every : int
        Layers between two files of a `checkpoint`.
    callbacks : iterable of callable
        Called with the flow after every layer; a true result ends the flow.
    progress : bool
        Show a progress bar.{own}

    Attributes
    ----------
    flow_ : kflow.KernelFlow
        The flow of the scaled data. Its own `transform` takes scaled points.
    interpolant_ : kflow.Interpolant
        The final interpolant, of ``flow_.reduced_points_``.
    interpolation_rows_ : ndarray of int
        The rows of X that are its points.
    energy_dropped_ : float
        Part of the sum of squares of the scaled data outside the subspace; 0 without a `rank`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X has them.
"""

_EARLY_STOPPING = """
    early_stopping : bool
        Whether to hold out a part of the training rows, and to end the flow before `n_layers` when
        they are classified as well from one point per class as from 2000, twice in succession:
        `kflow.stopping.CollapseStopping`, every ``n_layers // 20`` layers, 50 at most. The rows held
        out, ``flow_.follow_["validation"]``, neither scale the data nor take part in the flow and
        the interpolant.
    validation_fraction : float
        Part of each class that `early_stopping` holds out, in (0, 1), one row at least; two rows of
        each class must be left.
"""

_Class = TypeVar("_Class", bound=type)


def _with_parameters(balanced: str, own: str = "") -> Callable[[_Class], _Class]:
    """Return a decorator that puts the common parameters into a class's docstring."""

    def decorate(cls: _Class) -> _Class:
        if cls.__doc__ is not None:  # None under python -OO
            parameters = _PARAMETERS.format(balanced=balanced, own=own.rstrip()).strip()
            cls.__doc__ = cls.__doc__.replace("{parameters}", parameters)
        return cls

    return decorate


# What belongs to the run or the machine, not to the model, is not stored.
_NOT_STORED = ("n_threads", "layers", "checkpoint", "every", "callbacks", "progress")


def _json_parameter(name: str, value: Any) -> Any:
    if isinstance(value, Kernel):
        return value.to_dict()
    if name in SCHEDULES:
        return Schedule.to_json(value)
    if name == "dtype":
        return float_dtype(value).name
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (str, int, float, bool, type(None))) else None


class _KernelFlowEstimator(
    KernelParameters,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """What the classifier and the regressor share."""

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
    ) -> None:
        self.kernel = kernel
        self.n_layers = n_layers
        self.batch_size = batch_size
        self.coarse_fraction = coarse_fraction
        self.nugget = nugget
        self.step = step
        self.step_size = step_size
        self.step_over = step_over
        self.gradient_cap = gradient_cap
        self.n_halves = n_halves
        self.n_interpolation = n_interpolation
        self.interpolation_nugget = interpolation_nugget
        self.scaling = scaling
        self.rank = rank
        self.shrink_every = shrink_every
        self.shrink_tolerance = shrink_tolerance
        self.dtype = dtype
        self.random_state = random_state
        self.n_threads = n_threads
        self.layers = layers
        self.checkpoint = checkpoint
        self.every = every
        self.callbacks = callbacks
        self.progress = progress

    def _fit(
        self,
        X: FloatArray,
        targets: FloatArray,
        follow: Mapping[str, npt.ArrayLike] | None,
        choose_rows: Callable[[np.random.Generator], npt.NDArray[np.intp]],
        seeds: Iterable[np.random.SeedSequence],
        stopping: tuple[CollapseStopping, FloatArray] | None = None,
        kept: npt.NDArray[np.intp] | None = None,
        *,
        resume: bool,
    ) -> None:
        """Scale, run the flow, and interpolate at the rows that `choose_rows` draws.

        `stopping` is what may end the flow, and the points held out for it; `kept` says which rows of
        the data X is then.
        """
        # What concerns the interpolant only must not fail after the flow.
        nugget = as_nugget(self.interpolation_nugget, "interpolation_nugget")
        if follow is not None and not isinstance(follow, Mapping):
            raise TypeError(f"follow must map names to arrays, got {type(follow).__name__}")
        if stopping is not None and _VALIDATION in (follow or {}):
            raise ValueError(
                f"follow: {_VALIDATION!r} is the name of the rows held out by early_stopping, pass "
                "another"
            )
        flow_seed, rows_seed, _ = seeds
        preprocessing = Preprocessing.fit(X, self.scaling)
        flow = KernelFlow(
            self.kernel,
            n_layers=self.n_layers,
            batch_size=min(as_count(self.batch_size, "batch_size", 4), len(X)),
            coarse_fraction=self.coarse_fraction,
            nugget=self.nugget,
            step=self.step,
            step_size=self.step_size,
            step_over=self.step_over,
            gradient_cap=self.gradient_cap,
            n_halves=self.n_halves,
            rank=self.rank,
            shrink_every=self.shrink_every,
            shrink_tolerance=self.shrink_tolerance,
            dtype=self.dtype,
            random_state=flow_seed,
            n_threads=self.n_threads,
            layers=self.layers,
            checkpoint=self.checkpoint,
            every=self.every,
            callbacks=self.callbacks,
            progress=self.progress,
        )
        followed = {
            name: self._validated_like_fit(points)
            for name, points in ({} if follow is None else follow).items()
        }
        if stopping is not None:
            callback, held = stopping
            flow.callbacks += (callback,)
            followed[_VALIDATION] = held

        def keep() -> None:
            self.__dict__.pop("interpolant_", None)
            self._preprocessing = preprocessing
            self.flow_ = flow
            flow.rest()
            rows = choose_rows(np.random.default_rng(rows_seed))
            self.interpolation_rows_ = rows if kept is None else kept[rows]
            self.interpolant_ = Interpolant(
                flow.positions().training[rows],
                targets[rows],
                kernel=flow.kernel_,
                nugget=nugget,
                n_threads=self.n_threads,
            )

        try:
            flow.start(X, targets, followed, scaling=preprocessing, resume=resume)
            flow.finish()
        except BaseException:
            # A flow that stopped early is at its last good layer: what it learnt is kept. If no
            # interpolant can be made of it, the flow's own error says more about the reason.
            if flow.is_fitted:
                with suppress(Exception):
                    keep()
            raise
        keep()

    def _seeds(self) -> list[np.random.SeedSequence]:
        """Return the sources of the batches, of the interpolation points and of the hold-out."""
        if self.checkpoint is not None and not isinstance(self.random_state, (int, np.integer)):
            raise ValueError(
                f"random_state must be an int where there is a checkpoint, got {self.random_state!r}: "
                "a resumed fit must draw the same rows again"
            )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return np.random.SeedSequence(seed).spawn(3)

    @contextmanager
    def _replacing(self) -> Iterator[None]:
        """Bring back the earlier fit, whole, if what is inside fails before a flow has points."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            if self.__dict__.get("flow_") is before.get("flow_"):
                self.__dict__ = before
            raise

    def _validated_like_fit(self, X: Any) -> FloatArray:
        array: FloatArray = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return array

    @property
    def energy_dropped_(self) -> float:
        """Part of the sum of squares of the scaled data outside the subspace."""
        check_is_fitted(self)
        return self.flow_.energy_dropped_

    @property
    def _n_features_out(self) -> int:
        return int(self.flow_.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: `transform` has the flow's dtype, whatever X has."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is an interpolant."""
        return hasattr(self, "interpolant_")

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return F_n(X), (n, d), in the scaled features.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values, or if the layers were not kept.
        """
        check_is_fitted(self)
        return self._transform(X, reduced=False)

    def _transform(self, X: npt.ArrayLike, *, reduced: bool) -> FloatArray:
        return self.flow_.replay().final(self._validated_like_fit(X), self._preprocessing, reduced)

    def _scores(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return self.interpolant_(self._transform(X, reduced=True)).astype(np.float64)

    # ---- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, layers_dtype: str | None = None) -> None:
        """Write the fitted estimator to one file; `kflow.load` reads it.

        Functions given as schedules, a `random_state` that is not an int, `callbacks`, `progress`,
        `n_threads`, `checkpoint` and what else says where layers are kept are not stored: but for the
        first two they are those of a new estimator after `kflow.load`.

        Parameters
        ----------
        path : path
            The file.
        layers_dtype : {"float16", "float32", "float64"}, optional
            Precision of the layers in the file, as in `kflow.KernelFlow.save`.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        ValueError
            For another dtype.
        """
        check_is_fitted(self)
        flow_settings, flow_parts = self.flow_.to_parts(layers_dtype)
        settings = {
            "parameters": {
                name: _json_parameter(name, value)
                for name, value in self.get_params(deep=False).items()
                if name not in _NOT_STORED
            },
            "flow": flow_settings,
            "n_features_in": int(self.n_features_in_),
            "interpolant": {
                "kernel": self.interpolant_.kernel.to_dict(),
                "nugget": self.interpolant_.nugget,
            },
        }

        def parts() -> Iterator[tuple[str, npt.NDArray[Any] | bytes]]:
            yield from flow_parts
            yield "interpolant_centres", self.interpolant_.centres
            yield "interpolant_coefficients", self.interpolant_.coefficients
            yield "interpolation_rows", self.interpolation_rows_
            yield from input_arrays(self)
            for name, array in self._own_arrays().items():
                yield f"own_{name}", array

        write_model(path, type(self).__name__, settings, parts())

    def _own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        raise NotImplementedError

    def _set_own_arrays(self, reader: ModelReader, n_outputs: int) -> None:
        raise NotImplementedError

    @classmethod
    def _import(cls, reader: ModelReader) -> _KernelFlowEstimator:
        with damaged("settings"):
            parameters = dict(reader.settings["parameters"])
            if parameters.get("kernel") is not None:
                parameters["kernel"] = from_dict(parameters["kernel"])
            estimator = cls(**parameters)
            flow_settings = reader.settings["flow"]
            n_features = as_count(reader.settings["n_features_in"], "n_features_in", 1)
            interpolant = reader.settings["interpolant"]
            kernel, nugget = from_dict(interpolant["kernel"]), interpolant["nugget"]
        read_inputs(reader, estimator, n_features)
        estimator.flow_ = KernelFlow.from_parts(reader, flow_settings)
        if estimator.flow_.n_features_in_ != n_features:
            raise ModelFileError("the model's flow does not fit its features")
        centres = reader.array("interpolant_centres", ndim=2)
        coefficients = reader.array("interpolant_coefficients", ndim=2)
        if centres.shape[1] != estimator.flow_.positions().n_coordinates:
            raise ModelFileError("the model's interpolant does not fit its flow")
        with damaged("interpolant"):
            estimator.interpolant_ = Interpolant.from_coefficients(
                centres, coefficients, kernel=kernel, nugget=nugget
            )
        if "interpolation_rows" in reader:  # files of early versions lack them
            rows = reader.array("interpolation_rows", ndim=1)
            if rows.shape != (len(centres),) or rows.dtype.kind != "i" or rows.min() < 0:
                raise ModelFileError("the model's interpolation rows do not fit its interpolant")
            estimator.interpolation_rows_ = rows.astype(np.intp)
        estimator._set_own_arrays(reader, coefficients.shape[1])
        return estimator


@_with_parameters(balanced=", the same number of each class", own=_EARLY_STOPPING)
class KernelFlowClassifier(ClassifierMixin, _KernelFlowEstimator):  # type: ignore[misc]
    """Classifier by a kernel flow and an interpolant of one-hot labels.

    The defaults were chosen by five-fold cross-validation on small data sets of several kinds (iris,
    wine, breast cancer, moons, circles, a noisy exclusive-or), the regressor's with the same values:
    small batches and a large nugget lower the error where a plain kernel does badly and keep it
    where a plain kernel does well (``bench/defaults.py`` prints the comparison). Many points per
    class and structure at small scales, as in images, want larger batches, more layers and a
    smaller nugget first: see ``kflow.presets``.

    {parameters}
    classes_ : ndarray, shape (n_classes,)
        Labels.
    stopping_ : kflow.stopping.CollapseStopping or None
        The errors on the rows held out, and where they ended the flow; None without
        `early_stopping`, and after `kflow.load`.

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
        # Spelled out, because scikit-learn reads the parameters off the signature.
        super().__init__(
            kernel,
            n_layers=n_layers,
            batch_size=batch_size,
            coarse_fraction=coarse_fraction,
            nugget=nugget,
            step=step,
            step_size=step_size,
            step_over=step_over,
            gradient_cap=gradient_cap,
            n_halves=n_halves,
            n_interpolation=n_interpolation,
            interpolation_nugget=interpolation_nugget,
            scaling=scaling,
            rank=rank,
            shrink_every=shrink_every,
            shrink_tolerance=shrink_tolerance,
            dtype=dtype,
            random_state=random_state,
            n_threads=n_threads,
            layers=layers,
            checkpoint=checkpoint,
            every=every,
            callbacks=callbacks,
            progress=progress,
        )
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction

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
            Go on with the flow that the `checkpoint` holds, until it has `n_layers` layers; start one
            where there is none yet. The data and all other settings must be the same.

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
            If a batch's kernel matrix is numerically singular: as for DivergenceError. If that of
            the interpolant is: ``flow_`` is the new flow, but there is no interpolant.
        StorageError
            If the layers will not fit where they are to be kept: found before the first layer; or a
            disk is full after all, where the estimator is then fitted with the last layer.
        TypeError, ValueError
            For arguments of the wrong kind, shape or values, naming them.

        Notes
        -----
        A fit that fails before the flow has points, as for wrong arguments, leaves an earlier fit as
        it was.
        """
        with self._replacing():
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
            stopping, kept = None, None
            if as_flag(self.early_stopping, "early_stopping"):
                kept, held, callback = self._early_stopping(labels, np.random.default_rng(seeds[2]))
                stopping = callback, points[held]
                points, labels, codes = points[kept], labels[kept], codes[kept]
            self.stopping_ = stopping[0] if stopping is not None else None
            if self.n_interpolation is not None:  # fails before the flow, not after it
                wanted = as_count(self.n_interpolation, "n_interpolation", 1)
                try:
                    balanced_subset(labels, wanted, np.random.default_rng(0))
                except ValueError as error:
                    raise ValueError(f"n_interpolation: {error}") from None
            self._fit(
                points,
                one_hot(codes),
                follow,
                lambda rng: self._interpolation_rows(codes, rng),
                seeds,
                stopping,
                kept,
                resume=resume,
            )
        return self

    def _early_stopping(
        self, labels: npt.NDArray[Any], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], CollapseStopping]:
        """Return the rows for the flow, those held out, and what may end the flow by them."""
        kept, held = hold_out(labels, self.validation_fraction, rng)
        n_layers = as_count(self.n_layers, "n_layers", 0)
        callback = CollapseStopping(
            labels[kept],
            labels[held],
            nugget=as_nugget(self.interpolation_nugget, "interpolation_nugget"),
            every=min(max(1, n_layers // 20), _MAX_EVERY),
            rng=rng,
            n_interpolation=max(_MAX_INTERPOLATION, 2 * len(self.classes_)),
            follow=_VALIDATION,
        )
        return kept, held, callback

    def _interpolation_rows(
        self, codes: npt.NDArray[Any], rng: np.random.Generator
    ) -> npt.NDArray[np.intp]:
        if self.n_interpolation is not None:
            return balanced_subset(codes, self.n_interpolation, rng)
        if len(codes) <= _MAX_INTERPOLATION:
            return np.arange(len(codes), dtype=np.intp)
        # As balanced as the classes allow: rows in order of their rank within a shuffled class.
        order = rng.permutation(len(codes))
        place = np.empty(len(codes), dtype=np.intp)
        for code in range(len(self.classes_)):
            rows = order[codes[order] == code]
            place[rows] = np.arange(len(rows))
        return order[np.argsort(place[order], kind="stable")[:_MAX_INTERPOLATION]].astype(np.intp)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the label with the largest value of the interpolant, (n,)."""
        check_is_fitted(self)
        labels: npt.NDArray[Any] = self.classes_[self._scores(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the probability vectors nearest to the interpolant's values, (n, n_classes)."""
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


@_with_parameters(balanced=", drawn at random")
class KernelFlowRegressor(RegressorMixin, _KernelFlowEstimator):  # type: ignore[misc]
    """Regressor by a kernel flow and an interpolant of standardised targets.

    The defaults are those of `KernelFlowClassifier`, confirmed by five-fold cross-validation on
    diabetes and Friedman 1 to 3 (``bench/defaults.py`` prints the comparison): they help where the
    targets have structure that a plain kernel misses, and cost a little on noise, where
    ``n_layers=0``, the plain interpolant, is best.

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
    ) -> KernelFlowRegressor:
        """Fit the flow and the interpolant.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points, N >= 4.
        y : array_like, shape (N,) or (N, q)
            Targets.
        follow : mapping of str to array_like (n_i, d), optional
            Further points that the flow carries along; they end in ``flow_.follow_``.
        resume : bool
            Go on with the flow that the `checkpoint` holds, until it has `n_layers` layers; start one
            where there is none yet. The data and all other settings must be the same.

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
        with self._replacing():
            points, values = validate_data(
                self,
                X,
                y,
                dtype=[np.float64, np.float32],
                ensure_min_samples=4,
                multi_output=True,
                y_numeric=True,
            )
            values = np.asarray(values, dtype=np.float64)
            self._one_dimensional = values.ndim == 1
            targets = values.reshape(len(values), -1)
            self._target_mean, self._target_scale = standardisation(targets, "y")
            targets = (targets - self._target_mean) / self._target_scale
            n = len(points)
            wanted = min(n, _MAX_INTERPOLATION)
            if self.n_interpolation is not None:
                wanted = as_count(self.n_interpolation, "n_interpolation", 1)
            if wanted > n:
                raise ValueError(f"n_interpolation={wanted} exceeds the {n} rows of X")
            self._fit(
                points,
                targets,
                follow,
                lambda rng: np.sort(rng.choice(n, wanted, replace=False)),
                self._seeds(),
                resume=resume,
            )
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the interpolant's values, (n,) or (n, q)."""
        check_is_fitted(self)
        values: npt.NDArray[np.float64] = self._scores(X) * self._target_scale + self._target_mean
        return values[:, 0] if self._one_dimensional else values

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _own_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "target_mean": self._target_mean,
            "target_scale": self._target_scale,
            "one_dimensional": np.array([self._one_dimensional]),
        }

    def _set_own_arrays(self, reader: ModelReader, n_outputs: int) -> None:
        mean = reader.array("own_target_mean", ndim=1)
        scale = reader.array("own_target_scale", ndim=1)
        one_dimensional = reader.array("own_one_dimensional", ndim=1)
        for array, length in ((mean, n_outputs), (scale, n_outputs), (one_dimensional, 1)):
            if len(array) != length or array.dtype.kind not in "fb" or not np.isfinite(array).all():
                raise ModelFileError("the model's targets do not fit its interpolant")
        self._target_mean, self._target_scale = mean, scale
        self._one_dimensional = bool(one_dimensional[0])
        if self._one_dimensional and n_outputs != 1:
            raise ModelFileError("the model's targets do not fit its interpolant")
