"""The flow of a fold, with the settings of an estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kflow._base.arguments import as_count
from kflow.errors import DivergenceError, SingularKernelError
from kflow.estimators.auto import is_auto
from kflow.estimators.selection.candidates import Candidate
from kflow.estimators.selection.folds import Fold
from kflow.flow.kernel_flow import KernelFlow
from kflow.kernels import Radial

__all__ = ["batch_size_of", "default_nugget", "moving_fold"]

# A layer moves few points by the interpolant of a batch: with a smaller nugget it follows the noise
# of their labels.
_SMALLEST_NUGGET = 0.1

_LARGEST_BATCH = 600


def batch_size_of(value: Any, n_rows: int) -> int:
    """Return the batch size of a flow of so many rows.

    Parameters
    ----------
    value : "auto" or int
        The parameter of the estimator: "auto" stands for half of the rows, but at most 600. No batch
        has more than all rows.
    n_rows : int
        Number of rows.

    Raises
    ------
    TypeError, ValueError
        If it is another word, or no whole number of at least 4.
    """
    wanted = min(max(4, n_rows // 2), _LARGEST_BATCH) if is_auto(value) else value
    return min(as_count(wanted, "batch_size", 4), n_rows)


def default_nugget(interpolation_nugget: float) -> float:
    """Return the nugget of a flow whose interpolant has the given one."""
    return max(interpolation_nugget, _SMALLEST_NUGGET)


def moving_fold(
    settings: Mapping[str, Any],
    fold: Fold,
    kernel: Radial,
    start: Candidate,
    counts: Sequence[int],
) -> Iterator[Fold]:
    """Yield a fold after each of several numbers of layers, as long as the flow has no failure.

    Nothing is yielded if all targets that are kept are the same.

    Parameters
    ----------
    settings : mapping
        The settings of the flow. Where the batch size or the nugget is "auto", the fold and `start`
        decide.
    fold, kernel, start : Fold, Radial and Candidate
        The fold before the flow, the flow's kernel, and what the flow goes on from.
    counts : sequence of int
        Numbers of layers, in ascending order.
    """
    kept = fold.kept
    n = len(kept.points)
    nugget = settings["nugget"]
    if not np.ptp(kept.targets, axis=0).any():
        return  # a single class, or the same value everywhere: a flow has nothing to learn
    own = {
        "kernel": kernel,
        "n_layers": 0,
        "batch_size": batch_size_of(settings["batch_size"], n),
        "nugget": default_nugget(start.nugget) if is_auto(nugget) else nugget,
        "n_threads": 1,
    }
    try:
        flow = KernelFlow(**{**settings, **own})
        flow.fit(kept.points, kept.targets, follow={"left out": fold.left_out.points})
        for n_layers in counts:
            flow.run(n_layers - flow.n_layers_)
            yield fold.moved(
                np.asarray(flow.points_, np.float64),
                np.asarray(flow.follow_["left out"], np.float64),
            )
    except (DivergenceError, SingularKernelError):
        return
