"""States of flows that nobody has run here: before the first layer, or with layers but no points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.data.labels import ClassLabels
from kflow.engine.interface import Layer
from kflow.flow.settings import FlowSettings
from kflow.flow.state import FlowState
from kflow.kernels import Radial
from kflow.layers.block import LayerRecord
from kflow.layers.positions import Positions, coordinates
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.stores import MemoryLayers
from kflow.layers.subspace import Subspace

__all__ = ["state_before_layers", "state_of_layers"]


def state_before_layers(
    settings: FlowSettings,
    points: FloatArray,
    targets: FloatArray,
    *,
    kernel: Radial,
    subspace: Subspace | None,
) -> FlowState:
    """Return a flow of scaled points in given coordinates, before its first layer."""
    first = coordinates(points, subspace, None, settings.point_dtype)
    shape = settings.layer_shape(subspace)
    return FlowState.of(
        settings,
        kernel=kernel,
        subspace=subspace,
        n_features=points.shape[1],
        positions=Positions.of(first),
        targets=targets.copy(),
        labels=ClassLabels([targets])(targets),
        store=MemoryLayers(shape, first.shape[1] - shape.n_fixed),
        rng=np.random.default_rng(0),
    )


def state_of_layers(
    settings: FlowSettings,
    layers: Sequence[Layer],
    *,
    kernel: Radial,
    subspace: Subspace | None,
    n_features: int,
    reductions: Sequence[RankReduction] = (),
    nuggets: Sequence[float] | None = None,
    n_targets: int = 1,
) -> FlowState:
    """Return a flow that has layers but no points: it can map points, but cannot run more layers.

    Parameters
    ----------
    settings : FlowSettings
        The settings of the flow.
    layers : sequence of Layer
        The layers, each in the coordinates that are left after the reductions before it.
    kernel, subspace, n_features
        K_1, the subspace of the first coordinates or None, and d.
    reductions : sequence of RankReduction
        The reductions of the rank, in the order of their layers.
    nuggets : sequence of float, optional
        Nuggets of the layers, for the history. Of its other entries only steps and ranks are known.
    n_targets : int
        Number of columns of the targets.
    """
    shape = settings.layer_shape(subspace)
    k = n_features if subspace is None else subspace.rank + 1
    positions = Positions.of(np.zeros((0, k), settings.point_dtype))
    for reduction in reductions:
        positions = positions.reduced_by(reduction)
    store = MemoryLayers(shape, k - shape.n_fixed)
    records = []
    for number, layer in enumerate(layers):
        store.put(number, layer)
        records.append(
            LayerRecord(
                rho=math.nan,
                step=layer.step,
                seconds=math.nan,
                class_distance_ratio=math.nan,
                nugget=math.nan if nuggets is None else nuggets[number],
                rank=layer.coefficients.shape[1],
            )
        )
    targets = np.zeros((0, n_targets))
    return FlowState.of(
        settings,
        kernel=kernel,
        subspace=subspace,
        n_features=n_features,
        positions=positions,
        targets=targets,
        labels=ClassLabels([targets])(targets),
        store=store,
        rng=np.random.default_rng(0),
        records=records,
    )
