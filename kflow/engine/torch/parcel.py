"""All that the host knows of a batch, as one array that is sent to a device at once.

Each array that is sent keeps the host for as long as the launch of several operations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, float64

from kflow._base.array_types import FloatArray
from kflow.engine.interface import FlowBatch, LayerOptions
from kflow.engine.torch.transfers import send

__all__ = ["Contents", "Kind", "Parcel"]


class Contents(NamedTuple):
    """What a batch has, on a device.

    Attributes
    ----------
    rows : Tensor of int64, shape (m,)
        Rows of the training points.
    targets : Tensor of float64, shape (m, n_targets)
        Their targets.
    coarse : Tensor of int64, shape (n_halves, n_coarse)
        Positions of the coarse points of each half.
    numbers : Tensor of float64, shape (2,)
        The nugget, and the cap of the gradient.
    labels : Tensor of int64, shape (m,), or None
        Class numbers.
    """

    rows: Tensor
    targets: Tensor
    coarse: Tensor
    numbers: Tensor
    labels: Tensor | None


class Kind(NamedTuple):
    """The shapes of a batch's contents, and whether there are labels."""

    n_targets: int
    n_halves: int
    n_coarse: int
    labelled: bool


class Parcel(NamedTuple):
    """The contents of a batch in one tensor.

    Attributes
    ----------
    buffer : Tensor of int64, shape (n,)
        All contents; the bits of numbers of float64 are taken for those of integers.
    kind : Kind
        Their shapes.
    """

    buffer: Tensor
    kind: Kind

    @classmethod
    def of(
        cls,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        device: str,
    ) -> Parcel:
        """Send a batch to a device, with those of its points out of the targets and labels of all."""
        # The first half are the first points.
        coarse = np.concatenate([np.arange(batch.n_coarse), batch.halves.ravel()])
        numbers = np.array([options.nugget, options.gradient_cap])
        parts: list[npt.NDArray[np.int64]] = [
            batch.rows.astype(np.int64, copy=False),
            np.ascontiguousarray(targets[batch.rows], np.float64).view(np.int64).ravel(),
            coarse.astype(np.int64, copy=False),
            numbers.view(np.int64),
        ]
        if labels is not None:
            parts.append(labels[batch.rows].astype(np.int64))
        n_halves = len(batch.halves) + 1
        kind = Kind(targets.shape[1], n_halves, batch.n_coarse, labels is not None)
        return cls(send(np.concatenate(parts), device), kind)

    def contents(self) -> Contents:
        """Return views of what was sent."""
        n_targets, n_halves, n_coarse, labelled = self.kind
        m = (len(self.buffer) - n_halves * n_coarse - 2) // (1 + n_targets + labelled)
        sizes = [m, m * n_targets, n_halves * n_coarse, 2, m if labelled else 0]
        rows, targets, coarse, numbers, labels = self.buffer.split(sizes)
        return Contents(
            rows,
            targets.view(float64).view(m, n_targets),
            coarse.view(n_halves, n_coarse),
            numbers.view(float64),
            labels if labelled else None,
        )
