"""The room on the disk that a run of `kflow fit` needs."""

from __future__ import annotations

from kflow.datasets import Dataset
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.regressor import KernelFlowRegressor
from kflow.estimators.selection.candidates import MAX_LAYERS
from kflow.estimators.selection.flows import batch_size_of
from kflow.layers.stores import layer_bytes

__all__ = ["Estimator", "bytes_of_layers", "bytes_of_output", "most_layers"]

Estimator = KernelFlowClassifier | KernelFlowRegressor

_ITEM_BYTES = {"float16": 2, "float32": 4, "float64": 8}
_BLOCK_HEADER_BYTES = 2**12
_PICTURE_BYTES = 2**20


def most_layers(estimator: Estimator) -> int:
    """Return how many layers the flow will have at most."""
    n_layers = estimator.n_layers
    return MAX_LAYERS if isinstance(n_layers, str) else n_layers


def bytes_of_layers(estimator: Estimator, points: Dataset) -> int:
    """Return the bytes of all layers, rather too many than too few."""
    n, d = points.X_train.shape
    size = batch_size_of(estimator.batch_size, n)
    return layer_bytes(most_layers(estimator), size, _max_rank(estimator, n, d), estimator.dtype)


def bytes_of_output(estimator: Estimator, points: Dataset, layers_dtype: str | None) -> int:
    """Return about how many bytes all files of a run take at most, rather too many than too few.

    The layers count twice: in the checkpoint, and in the model file to which they are copied.

    Parameters
    ----------
    estimator : KernelFlowClassifier or KernelFlowRegressor
        The estimator, which need not be fitted.
    points : Dataset
        The data to which it will be fitted.
    layers_dtype : str or None
        Precision of the layers in the model file; None for that of the points.
    """
    n, d = points.X_train.shape
    rank = _max_rank(estimator, n, d)
    n_targets = len(set(points.y_train.tolist())) if points.task == "classification" else 1
    layers = bytes_of_layers(estimator, points)
    # Training points, their targets and the interpolant, which may hold as many; the snapshot of the
    # points, and the next one that is to replace it.
    others = 4 * n * (rank + 1 + 2 * n_targets) + 3 * len(points.X_test) * (rank + 1)
    item = 4 if estimator.dtype == "float32" else 8
    n_rotations = _max_rotations(estimator, rank)
    matrices = 2 * 8 * rank * (d + n_rotations * rank)
    model = layers * (item if layers_dtype is None else _ITEM_BYTES[layers_dtype]) // item
    # Headers and states, of which each block has one. A rotation ends a block early.
    n_blocks = most_layers(estimator) // estimator.every + n_rotations + 2
    n_bytes: int = (
        _BLOCK_HEADER_BYTES * n_blocks + layers + model + others * item + matrices + _PICTURE_BYTES
    )
    return n_bytes


def _max_rank(estimator: Estimator, n: int, d: int) -> int:
    """Return the largest number of coordinates that the points can have in the flow."""
    if estimator.rank is None:
        return d
    return int(min(n, d, estimator.rank)) if isinstance(estimator.rank, int) else min(n, d)


def _max_rotations(estimator: Estimator, rank: int) -> int:
    """Return how many times the flow can drop directions at most."""
    if not estimator.shrink_every:
        return 0
    return min(rank, most_layers(estimator) // max(int(estimator.shrink_every), 1))
