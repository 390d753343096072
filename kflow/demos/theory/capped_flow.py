"""A flow whose layers have Lipschitz constants below a cap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.without_run import state_of_layers
from kflow.kernels import Radial
from kflow.layers.block import Layer
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot

__all__ = ["capped_flow"]


def capped_flow(
    X: Doubles,
    y: npt.NDArray[Any],
    kernel: Radial,
    settings: dict[str, Any],
    *,
    n_layers: int,
    most: float,
    seed: int,
) -> KernelFlowClassifier:
    """Return a classifier by a flow of layers that together stretch nothing by more than `most`.

    Each layer is that of a flow of one layer, made shorter where x -> K(x, Z) C has a Lipschitz
    constant above log(most) / n_layers, so that the product of all 1 + constant is at most `most`.

    Parameters
    ----------
    X, y : ndarray, shape (N, k) and (N,)
        Points and labels.
    kernel : kflow.kernels.Radial
        The kernel.
    settings : dict
        Settings of the flow that are not given otherwise, and ``interpolation_nugget``.
    n_layers : int
        Number of layers.
    most : float
        Bound of the Lipschitz constant of the flow, above 1.
    seed : int
        Seed of the batches.
    """
    cap = math.log(most) / n_layers
    own = dict(settings)
    nugget = own.pop("interpolation_nugget")
    targets, points, layers = one_hot(y), X, list[Layer]()
    for number in range(n_layers):
        one = KernelFlow(kernel, n_layers=1, **own, random_state=seed + number).fit(points, targets)
        z, c, step = one.state_.store[0]
        energy = c.T @ (kernel(z) @ c)
        constant = step * math.sqrt(float(np.linalg.eigvalsh(energy)[-1]) * kernel.curvature)
        part = min(1.0, cap / constant)
        points = points + part * (one.points_ - points)
        layers.append(Layer(z, c, part * step))
    classifier = KernelFlowClassifier(
        kernel, metric=None, n_layers=0, scaling=None, **settings, random_state=seed
    ).fit(X, y)
    flow = KernelFlow(kernel, n_layers=n_layers, **own)
    state = state_of_layers(
        flow,
        layers,
        kernel=kernel,
        subspace=None,
        n_features=X.shape[1],
        n_targets=targets.shape[1],
    )
    rows = classifier.interpolation_rows_
    classifier.flow_ = flow.adopt(state)
    classifier.interpolant_ = Interpolant(
        points[rows], targets[rows], kernel=kernel, nugget=nugget, n_threads=classifier.n_threads
    )
    return classifier
