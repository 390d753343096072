"""A linear map of the features after which a kernel predicts better."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from kflow._base.arguments import as_count, as_flag, as_nugget, as_number
from kflow._base.array_types import Doubles, FloatArray
from kflow.data.products import product
from kflow.estimators.gp_solvers import drawn_rows
from kflow.estimators.kernel_parameters import KernelParameters
from kflow.estimators.parameters import keep_parameters
from kflow.estimators.target_scaling import TargetScaling
from kflow.estimators.validation import seed_of, validated
from kflow.flow.start import default_kernel
from kflow.kernels import Radial, check_isotropic
from kflow.layers.moments import mean_squared_distance
from kflow.learning.gradient_metric import LinearMap, MapSettings
from kflow.operations import one_hot

__all__ = ["GradientMetric"]

_TARGETS = ("labels", "numbers")


class GradientMetric(
    KernelParameters,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    r"""A linear map of the features, learned from the gradients of a kernel interpolant.

    Features along which the targets do not change are shrunk, and those along which they change fast
    are stretched. With the interpolant of the training data,
    :math:`u(x) = K(x, X)\, (K(X, X) + \lambda I)^{-1}\, Y`, and the outer product of its gradients

    .. math:: M = \frac1N \sum_i \sum_k \nabla u_k(x_i)\, \nabla u_k(x_i)^\top,

    points are mapped by :math:`x \to c\, M^{p/2} x`, where p is `power`. The factor c keeps the mean
    squared distance of the training points, so that the same length scales suit the kernel before and
    after. With `n_steps` > 1 the same is done again with the mapped points, and the maps are composed.

    A flow moves points freely, and learns its training points by heart if it goes on for long. This map
    has few parameters, and all training points decide on each: it is the part of the deformation that
    generalises. Use it alone before any kernel method, or before a flow.

    Parameters
    ----------
    kernel : Radial, optional
        The kernel of the interpolant, a function of the distance alone. By default
        exp(-1.5 r^2 / msd) with the mean squared distance msd of the training points.
    nugget : float
        Added to the diagonal of the interpolant's matrix; not negative.
    power : float
        The power of M; not negative. 1 is the metric of recursive feature machines; 0.5, the default, is
        more careful; 0 leaves the distances as they are.
    n_steps : int
        How often points are mapped; each step costs the same.
    diagonal : bool
        Whether only the diagonal of M counts: then each feature is multiplied by a number of its own.
    targets : {"labels", "numbers"}
        What y holds: class labels, for which Y is one-hot, or numbers, which are standardised.
    max_points : int
        If there are more training points, the interpolant uses this many of them, drawn at random.
    random_state : None, int, RandomState, Generator or SeedSequence
        Source of the draw of points.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`.

    Attributes
    ----------
    components_ : ndarray of float64, shape (d, d)
        The map: ``transform(X)`` is ``X @ components_.T``.
    feature_importances_ : ndarray of float64, shape (d,)
        The diagonal of M in the first step, divided by its sum. The features must have been scaled
        alike for a comparison.
    kernel_ : Radial
        The kernel that was used.
    rows_ : ndarray of int, shape (m,)
        The rows of X that the interpolant used, in ascending order.
    n_features_in_ : int
        The number d of features.

    Raises
    ------
    SingularKernelError
        By `fit`, if the kernel matrix is numerically singular.
    TypeError, ValueError
        By `fit`, for parameters, points or targets of the wrong kind; for points or targets that all
        coincide.

    Notes
    -----
    A step costs m^3 / 3 + 2 q m^2 (2 d + q) flops and 8 m^2 bytes, for m interpolation points and q
    classes or outputs.

    References
    ----------
    A. Radhakrishnan, D. Beaglehole, P. Pandit and M. Belkin, Mechanism for feature learning in neural
    networks and backpropagation-free machine learning models, Science 383 (2024), 1461-1467: the average
    gradient outer product and its powers. S. Trivedi, J. Wang, S. Kpotufe and G. Shakhnarovich, A
    consistent estimator of the expected gradient outerproduct, UAI 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from kflow import GradientMetric
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> metric = GradientMetric(targets="numbers").fit(X, np.sin(X[:, 0]))
    >>> int(metric.feature_importances_.argmax())
    0
    """

    def __init__(
        self,
        kernel: Radial | None = None,
        *,
        nugget: float = 0.1,
        power: float = 0.5,
        n_steps: int = 1,
        diagonal: bool = False,
        targets: str = "labels",
        max_points: int = 5000,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        keep_parameters(self, locals())

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> GradientMetric:
        """Learn the map.

        Parameters
        ----------
        X : array_like, shape (N, d)
            Training points.
        y : array_like, shape (N,), or (N, m) if `targets` is "numbers"
            Class labels or numbers.

        Returns
        -------
        GradientMetric
            This object.
        """
        if self.targets not in _TARGETS:
            raise ValueError(f"targets must be one of {_TARGETS}, got {self.targets!r}")
        nugget, power = as_nugget(self.nugget), as_number(self.power, "power")
        if power < 0.0:
            raise ValueError(f"power must not be negative, got {self.power!r}")
        n_steps = as_count(self.n_steps, "n_steps", 1)
        max_points = as_count(self.max_points, "max_points", 2)
        diagonal = as_flag(self.diagonal, "diagonal")
        given = None if self.kernel is None else check_isotropic(self.kernel)
        numbers = self.targets == "numbers"
        points, values = validated(
            self,
            X,
            y,
            dtype=[np.float64, np.float32],
            y_numeric=numbers,
            multi_output=numbers,
            ensure_min_samples=2,
        )
        Y = _standardised(values) if numbers else _one_hot(values)
        rng = np.random.default_rng(seed_of(self.random_state))
        rows = drawn_rows(rng, len(points), max_points)
        points = points[rows].astype(np.float64)
        msd = mean_squared_distance(points)
        kernel = default_kernel(points) if given is None else given
        if not np.isfinite(msd) or msd == 0.0:
            raise ValueError("X: its rows all coincide, or their squares overflow: scale them")
        settings = MapSettings(power, n_steps, diagonal)
        learned = LinearMap.learn(
            points, Y[rows], kernel, nugget, settings, n_threads=self.n_threads
        )
        self.components_, self.feature_importances_ = learned.components, learned.importances
        self.kernel_, self.rows_ = kernel, rows
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return mapped points, (n, d), in the dtype of X. Each row depends on its row of X alone.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For a wrong shape or values.
        """
        check_is_fitted(self)
        points = validated(self, X, dtype=[np.float64, np.float32], reset=False)
        mapped = product(points, self.components_.T)
        return np.asarray(mapped.astype(points.dtype, copy=False))

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: `fit` needs targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _one_hot(y: npt.NDArray[Any]) -> Doubles:
    try:
        check_classification_targets(y)
    except ValueError as error:
        raise ValueError(f"{error}. For y that holds numbers, pass targets='numbers'") from None
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y holds one class only: {classes[0]}. At least two are needed")
    return np.asarray(one_hot(codes), np.float64)


def _standardised(y: npt.NDArray[Any]) -> Doubles:
    numbers = np.asarray(y, np.float64)
    return TargetScaling.fit(numbers)(numbers)
