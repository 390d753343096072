"""The parameters that the estimators with a flow share: what they mean, and the flow they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kflow.estimators.selection.flows import batch_size_of
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.settings import setting_names

__all__ = ["flow_of_parameters", "flow_settings", "with_flow_parameters"]

_PARAMETERS = """
    Parameters
    ----------
    kernel : "auto", kflow.kernels.Radial or None
        Kernel of the flow and of the interpolant. "auto": a Gaussian, rational quadratic or Laplacian
        and its length scale, chosen by the squared error on folds. None: a Gaussian
        exp(-1.5 r^2 / msd), where msd is the mean squared distance of the scaled data.
    metric : "auto", kflow.GradientMetric or None
        A linear map of the scaled data, before the subspace of a `rank`. "auto": none, or one of four
        maps by the gradients of an interpolant, chosen likewise; none with more than 1000 features, or
        with a `rank` that is a number. None: no map.
    n_layers : "auto" or int
        Layers of the flow. "auto": 10, 30 or 100, if that lowers the error on folds by more than
        one standard error, else 0.
    batch_size : "auto" or int
        Points that each layer draws; all of them if the data has fewer. "auto": half of the data, and
        at most 600.
    coarse_fraction : float
        Part of the batch that predicts the rest, in (0, 1).
    nugget : "auto", float, mapping or callable
        Nugget of the flow. It may be a schedule, as in `kflow.KernelFlow`. "auto": the nugget with
        which the kernel alone does best on folds, and at least 0.1.
    step, step_size : str and float, mapping or callable
        Step rule and its size, as in `kflow.KernelFlow`.
    step_over : {{"all", "batch"}}
        The points over which the step rule is measured, as in `kflow.KernelFlow`.
    gradient_cap : float, mapping or callable
        The longest that a row of the gradient may be, in units of the median length of the rows, as
        in `kflow.KernelFlow`.
    n_halves : int
        Number of coarse subsets of one batch over which rho is averaged.
    n_interpolation : int or None
        Number of training points of the final interpolant{balanced}. None: all of them, or 8000
        drawn at random if there are more{proportional}.
    interpolation_nugget : "auto" or float
        Nugget of the final interpolant. "auto": the one with the least squared error on folds.
    scaling : {{"standard", "unit"}} or None
        ``"standard"`` scales each feature to mean 0 and variance 1. ``"unit"`` scales each row to
        norm 1, which suits images. None leaves the data as it is.
    rank : None, "auto", int or float
        The flow runs in the span of the leading right singular vectors of the scaled data, as in
        `kflow.KernelFlow`. ``"auto"`` takes as many as the numerical rank, an int that number, and a
        float the fewest that drop at most that part of the sum of squares. No scaled copy of the data
        is made then. None: the flow runs in all coordinates.
    shrink_every, shrink_tolerance : int and float
        How often the flow drops directions that it no longer needs, and how much that may change, as
        in `kflow.KernelFlow`.
    dtype : {{"float32", "float64"}}
        Precision of the points.
    random_state : None, int, RandomState, Generator or SeedSequence
        Source of everything that is drawn: the folds and their rows, the batches, the interpolation
        points, and what else is held out.
    n_threads : int, optional
        Number of threads; see `kflow.get_num_threads`. The result does not depend on it.
    layers : "memory" or "none"
        Whether the flow keeps its layers. With "none" the estimator can neither transform nor
        predict: only ``flow_.points_`` and ``flow_.follow_`` are of use.
    checkpoint : path, optional
        A folder that keeps the flow, so that ``fit(..., resume=True)`` goes on after whatever ended
        the process, as in `kflow.KernelFlow`. `random_state` must then be an int. Without `resume`, a
        folder that holds a flow already is refused: cross-validation, which fits several times,
        cannot use a checkpoint.
    every : int
        Layers between two files of a `checkpoint`.
    callbacks : iterable of callable
        Functions that are called with the flow after every layer; a true result ends the flow.
    progress : bool
        Whether to show progress bars of the choice and of the flow.
    device : str or None
        Where the layers of the flow run, as in `kflow.KernelFlow`. None: the compiled core. Points and
        targets may be tensors on that device, or anything there that has ``__dlpack__``; what is made
        of such points, predicted labels included, are tensors there.
    precision : {{"float64", "mixed", "tf32", "mixed+tf32"}}
        How exactly a `device` computes, as in `kflow.KernelFlow`.{own}

    Attributes
    ----------
    selection_ : kflow.estimators.selection.record.Selection
        What was chosen where a parameter is "auto", and what else was tried. Print it.
    flow_ : kflow.KernelFlow
        The flow of the scaled data. Its own `transform` takes scaled points.
    scaling_ : kflow.data.scaling.Preprocessing
        The map from rows of X to scaled points, after the linear map if there is one.
    map_importances_ : ndarray of float64, shape (d,), or None
        Importances of the scaled features by which the linear map was made, if there is one;
        `feature_importances_` has them in any case.
    n_layers_ : int
        Layers that the flow was to have.
    interpolation_nugget_ : float
        The nugget of the final interpolant.
    interpolant_ : kflow.Interpolant
        The final interpolant, a function of ``flow_.reduced_points_``.
    interpolation_rows_ : ndarray of int
        The rows of X at which it interpolates.
    energy_dropped_ : float
        Part of the sum of squares of the scaled data outside the subspace; 0 without a `rank`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X has them.
"""

_Class = TypeVar("_Class", bound=type)


def with_flow_parameters(
    balanced: str, proportional: str = "", own: str = ""
) -> Callable[[_Class], _Class]:
    """Return a decorator that puts the shared parameters into the docstring of a class.

    Parameters
    ----------
    balanced : str
        How a given number of interpolation points is drawn.
    proportional : str
        How they are drawn if no number is given.
    own : str
        The entries of the parameters that only this class has.
    """

    def decorate(cls: _Class) -> _Class:
        if cls.__doc__ is not None:  # None under python -OO
            parameters = _PARAMETERS.format(
                balanced=balanced, proportional=proportional, own=own.rstrip()
            ).strip()
            cls.__doc__ = cls.__doc__.replace("{parameters}", parameters)
        return cls

    return decorate


def flow_settings(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator that are settings of its flow, as they are given."""
    parameters = estimator.get_params(deep=False)
    return {name: parameters[name] for name in setting_names() if name in parameters}


def flow_of_parameters(estimator: Any, n_rows: int, random_state: Any, **chosen: Any) -> KernelFlow:
    """Return the flow that an estimator's parameters describe, not yet fitted.

    Parameters
    ----------
    estimator : KernelFlowClassifier or KernelFlowRegressor
        The estimator. Settings of a flow that are none of its parameters have their defaults.
    n_rows : int
        Number of training rows: a larger `batch_size` counts as this number.
    random_state : numpy.random.SeedSequence
        Source of the batches.
    **chosen
        What was chosen in the place of "auto".

    Raises
    ------
    TypeError, ValueError
        For parameters of the wrong kind or values, naming them.
    """
    settings = {**flow_settings(estimator), **chosen}
    settings["batch_size"] = batch_size_of(settings["batch_size"], n_rows)
    settings["random_state"] = random_state
    return KernelFlow(**settings)
