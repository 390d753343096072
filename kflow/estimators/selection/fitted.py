"""What was chosen on some of the rows, made for all of them: scaling, linear map and kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from kflow._base.array_types import Doubles
from kflow.data.scaling import Preprocessing
from kflow.engine.device_array import to_host
from kflow.estimators.auto import is_auto
from kflow.estimators.fit_rows import FitRows
from kflow.estimators.flow_parameters import flow_settings
from kflow.estimators.gradient_metric import GradientMetric
from kflow.estimators.selection.choose import ALL_GIVEN, MAX_ROWS, Choice, choose, default_choice
from kflow.estimators.selection.flows import default_nugget
from kflow.estimators.selection.folds import Rows, proportional_rows, scale_of
from kflow.estimators.selection.wanted import Wanted
from kflow.kernels import Radial
from kflow.layers.moments import mean_squared_distance
from kflow.layers.subspace import Subspace
from kflow.learning.gradient_metric import LinearMap

__all__ = ["FittedChoice", "fit_choice"]

# A linear map is learned from at most so many points, as by `GradientMetric`.
_MAX_MAP = 5000

# What a flow that is run on a fold has no use for.
_QUIET: dict[str, Any] = {
    "callbacks": (),
    "progress": False,
    "checkpoint": None,
    "layers": "none",
}


@dataclass(frozen=True)
class FittedChoice:
    """What was chosen, for all rows.

    Attributes
    ----------
    choice : Choice
        What was chosen.
    scaling : Preprocessing
        The scaling of the points and the linear map.
    importances : ndarray of float64, shape (d,), or None
        Importances of the features, if there is a linear map.
    flow_settings : dict
        The settings of the flow that were chosen.
    """

    choice: Choice
    scaling: Preprocessing
    importances: Doubles | None
    flow_settings: dict[str, Any]


def fit_choice(
    estimator: Any,
    wanted: Wanted,
    data: FitRows,
    seed: np.random.SeedSequence,
) -> FittedChoice:
    """Choose what is "auto", and learn from all rows what follows from it.

    Parameters
    ----------
    estimator : KernelFlowClassifier or KernelFlowRegressor
        The estimator, whose other parameters count as well.
    wanted : Wanted
        Which of its parameters are given.
    data : FitRows
        The rows.
    seed : numpy.random.SeedSequence
        Source of everything random.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for the fit of an estimator.
    """
    codes = data.codes
    row_seed, fold_seed, map_seed, metric_seed = seed.spawn(4)
    scaling = Preprocessing.fit(data.points, estimator.scaling, data.weights)
    wanted = wanted.with_seed(int(metric_seed.generate_state(1)[0]), estimator.n_threads)
    reduced_scale = None
    if wanted.is_settled:
        choice = default_choice(wanted, ALL_GIVEN)
    else:
        _check_spread(data, scaling)
        rng = np.random.default_rng(row_seed)
        rows = proportional_rows(len(data.points), MAX_ROWS, codes, rng)
        sample = _scaled(data, scaling, rows)
        quiet = dict(_QUIET)
        if _drops_directions(estimator.rank) and not isinstance(wanted.metric, GradientMetric):
            # The flow and the interpolant see the leading directions only; a map would come before.
            wanted, sample = replace(wanted, metric="none"), _reduced(sample, estimator.rank)
            reduced_scale, quiet["rank"] = scale_of(sample.points), None
        choice = choose(
            wanted,
            sample,
            None if codes is None else codes[rows],
            {**flow_settings(estimator), **quiet},
            tries_flow=data.stopping is None,
            progress=bool(estimator.progress),
            n_threads=estimator.n_threads,
            seed=fold_seed,
        )
    learned = _learned_map(estimator, wanted, choice, data, scaling, map_seed)
    if learned is not None:
        scaling = scaling.followed_by(learned.components)
    chosen = choice.chosen
    settings: dict[str, Any] = {
        "kernel": _kernel(wanted, choice, data, scaling, reduced_scale),
        "n_layers": chosen.n_layers,
    }
    if is_auto(estimator.nugget):
        # Batches are drawn without weights, as the nugget's unit is without them.
        settings["nugget"] = default_nugget(choice.plain.nugget)
    importances = None if learned is None else learned.importances
    return FittedChoice(choice, scaling, importances, settings)


def _check_spread(data: FitRows, scaling: Preprocessing) -> None:
    if not np.isfinite(mean_squared_distance(data.points, scaling)):
        raise ValueError("X: the squares of its numbers overflow: scale them")


def _drops_directions(rank: Any) -> bool:
    """Return whether a flow of this rank runs in fewer directions than the data have."""
    return rank is not None and not is_auto(rank)


def _reduced(rows: Rows, rank: Any) -> Rows:
    """Return rows in the coordinates of a flow of this rank."""
    subspace = Subspace.fit(rows.points, rank, scaling=None, dtype=np.dtype(np.float64))
    points = subspace.reduce(rows.points, scaling=None, dtype=np.dtype(np.float64))
    return replace(rows, points=np.asarray(points, np.float64))


def _scaled(data: FitRows, scaling: Preprocessing, rows: npt.NDArray[np.intp]) -> Rows:
    points = to_host(scaling(data.points[rows])).astype(np.float64)
    weights = None if data.weights is None else data.weights[rows]
    return Rows(points, np.asarray(data.targets[rows], np.float64), weights)


def _learned_map(
    estimator: Any,
    wanted: Wanted,
    choice: Choice,
    data: FitRows,
    scaling: Preprocessing,
    seed: np.random.SeedSequence,
) -> LinearMap | None:
    """Learn the linear map that was chosen or given, from all rows or a part of them."""
    codes = data.codes
    if isinstance(wanted.metric, GradientMetric):
        metric: GradientMetric = clone(wanted.metric)
        metric.set_params(targets="numbers" if codes is None else "labels")
        metric.fit(to_host(scaling(data.points)), data.targets if codes is None else codes)
        return LinearMap(metric.components_, metric.feature_importances_)
    if choice.chosen.map is None:
        return None
    rng = np.random.default_rng(seed)
    rows = _scaled(data, scaling, proportional_rows(len(data.points), _MAX_MAP, codes, rng))
    plain = choice.plain
    weights = None if rows.weights is None else rows.weights / choice.mean_weight
    return LinearMap.learn(
        rows.points,
        rows.targets,
        plain.kernel.at(scale_of(rows.points)),
        plain.nugget,
        choice.chosen.map,
        weights=weights,
        n_threads=estimator.n_threads,
    )


def _kernel(
    wanted: Wanted,
    choice: Choice,
    data: FitRows,
    scaling: Preprocessing,
    reduced_scale: float | None,
) -> Radial | None:
    """Return the kernel of the flow; None for the flow's own default."""
    if isinstance(wanted.kernel, Radial):
        return wanted.kernel
    if wanted.kernel == "default" and data.weights is None:
        return None
    weights = None if data.weights is None else data.weights / choice.mean_weight
    msd = mean_squared_distance(data.points, scaling, weights=weights)
    if not msd > 0.0:
        raise ValueError("X: all rows coincide, so that no length scale fits: pass a kernel")
    scale = float(np.sqrt(msd / 2.0)) if reduced_scale is None else reduced_scale
    return choice.chosen.kernel.at(scale)
