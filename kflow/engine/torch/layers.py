"""Layers that a batch decides: on the device, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.engine.interface import (
    BatchRunner,
    Diverged,
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    NotPositiveDefinite,
    Profile,
)
from kflow.engine.torch.batch import Decision, coincident, decide
from kflow.engine.torch.move import LayerOnDevice
from kflow.engine.torch.parcel import Kind, Parcel
from kflow.engine.torch.precision import TF32_ROUNDING, Precision, float32_products, takes_tf32
from kflow.engine.torch.repeated import Repeated
from kflow.engine.torch.transfers import host_copy, to_device
from kflow.errors import PrecisionWarning

__all__ = ["Batches", "TorchBatchRunner"]

# A layer that moves the points by more than this many times their own size has diverged.
_EXPLOSION = 10.0

# A precision that changes displacements by more than this part of their size is told of.
_COARSE = 0.1

_REMEDY = ": pass a smaller step_size or a larger nugget"


class _Numbers(NamedTuple):
    """A decision's `measured`, and an extent, for the host; see `kflow.engine.torch.batch` and `extent`."""

    rho: float
    class_distance_ratio: float
    cancellation: float
    is_finite: float
    failed: float
    refined: float
    least_ratio: float
    most_g: float
    sum_x: float
    sum_g: float


class Batches:
    """Decides layers, and says once if a precision does not do.

    Parameters
    ----------
    n_fixed : int
        How many coordinates, the last ones, do not move.
    profile : Profile
        The kernel.
    precision : Precision
        Whether the algebra is in mixed precision, as far as that goes, and whether points move by TF32.
    repeated : Repeated
        Runs the algebra.
    """

    def __init__(
        self, n_fixed: int, profile: Profile, precision: Precision, repeated: Repeated
    ) -> None:
        self._n_fixed, self._profile = n_fixed, profile
        self._precision, self._repeated = precision, repeated
        self._told: set[str] = set()

    def layer(
        self,
        centres: Tensor,
        parcel: Parcel,
        options: LayerOptions,
        measure: Callable[[Decision], Tensor],
    ) -> tuple[Decision, LayerReport]:
        """Return the layer that a batch decides.

        Parameters
        ----------
        centres : Tensor, shape (m, k)
            The points of the batch.
        parcel : Parcel
            The batch.
        options : LayerOptions
            How the layer descends.
        measure : callable
            Returns the extent that gives the step; it may move points. In mixed precision it is called
            again if the solutions were not exact.

        Raises
        ------
        NotPositiveDefinite
            If the matrix cannot be factorised.
        Diverged
            If a value is not finite, or the points would move too far.

        Notes
        -----
        The host waits once here, for all numbers that were measured. Whether float32 does is decided for each
        layer by its batch alone, so that a flow that is resumed has the same bits.
        """

        def attempt(mixed: bool) -> tuple[Decision, _Numbers]:
            decision = self._decision(centres, parcel, options, mixed)
            return decision, _Numbers(*torch.cat([decision.measured, measure(decision)]).tolist())

        decision, measured = attempt(self._precision.mixed)
        too_coarse = self._precision.mixed and bool(measured.failed or not measured.refined)
        if too_coarse:
            decision, measured = attempt(mixed=False)
        if measured.failed:
            raise NotPositiveDefinite(*coincident(centres))
        report = _report(measured, options, centres.dtype)
        if too_coarse:
            self._tell_of_mixed(options.nugget)
        if self._takes_tf32(centres):
            self._tell_of_tf32(measured.cancellation * TF32_ROUNDING, options.nugget)
        return decision, report

    def _decision(
        self, centres: Tensor, parcel: Parcel, options: LayerOptions, mixed: bool
    ) -> Decision:
        n_moving = centres.shape[1] - self._n_fixed
        capped = math.isfinite(options.gradient_cap)
        how = self._profile, n_moving, capped, mixed, self._takes_tf32(centres)
        function = partial(_decided, how, parcel.kind)
        with float32_products(tf32=False):
            results = self._repeated((how, parcel.kind), function, (centres, parcel.buffer))
            # Copies: the layer pends while the next batch is at work.
            coefficients, measured, extent, *parts = (x.clone() for x in results)
        return Decision(coefficients, measured, extent, LayerOnDevice(*parts))

    def _takes_tf32(self, points: Tensor) -> bool:
        """Return whether points move by products whose factors are rounded to TF32."""
        return self._precision.tf32 and points.dtype == torch.float32 and takes_tf32(points.device)

    def _tell_of_mixed(self, nugget: float) -> None:
        self._tell(
            "mixed",
            f"a batch's matrix with nugget {nugget:g} is too badly conditioned for float32, and its layer "
            "is computed in float64. Where most are, precision='float64' saves the attempt, and a "
            "larger nugget makes it succeed",
        )

    def _tell_of_tf32(self, error: float, nugget: float) -> None:
        if error > _COARSE:
            self._tell(
                "tf32",
                f"the rounding of TF32 changes displacements by about {error:.0%} of their size, since with "
                f"nugget {nugget:g} their terms are large and cancel: pass a larger nugget, or a "
                "precision without 'tf32'",
            )

    def _tell(self, of: str, what: str) -> None:
        if of not in self._told:
            self._told.add(of)
            warn_user(f"precision: {what}", PrecisionWarning)


def _decided(
    how: tuple[Profile, int, bool, bool, bool], kind: Kind, centres: Tensor, buffer: Tensor
) -> tuple[Tensor, ...]:
    """Return a decision as one tuple of tensors."""
    profile, n_moving, capped, mixed, tf32 = how
    batch = Parcel(buffer, kind).contents()
    *first, layer = decide(
        centres,
        batch.targets,
        batch.labels,
        batch.coarse,
        batch.numbers,
        profile=profile,
        n_moving=n_moving,
        capped=capped,
        mixed=mixed,
        tf32=tf32,
    )
    return *first, *layer


def _report(measured: _Numbers, options: LayerOptions, dtype: torch.dtype) -> LayerReport:
    """Return what is told of a layer.

    Raises
    ------
    Diverged
        If a value is not finite, or the points would move too far.
    """
    numbers = measured.rho, measured.sum_x, measured.sum_g
    if not (measured.is_finite and all(map(math.isfinite, numbers))):
        raise Diverged(f"a value is no longer finite{_REMEDY}")
    step = _step(options.step, options.step_size, measured)
    size = math.sqrt(measured.sum_g / measured.sum_x) if measured.sum_x > 0.0 else 0.0
    relative = step * size
    if relative > _EXPLOSION:
        raise Diverged(
            f"one layer would move the points by {relative:g} times their rms norm{_REMEDY}"
        )
    if step > torch.finfo(dtype).max:
        raise Diverged(
            "the step is too large for the precision of the points, because the loss hardly depends on "
            "them: pass a larger length scale"
        )
    return LayerReport(measured.rho, step, measured.class_distance_ratio)


def _step(rule: str, size: float, measured: _Numbers) -> float:
    """Return the step that a rule gives."""
    if measured.sum_g == 0.0:
        return 0.0
    if rule == "relative":
        least = measured.least_ratio
        return 0.0 if math.isinf(least) else size * math.sqrt(least)
    if rule == "rms":
        return size * math.sqrt(measured.sum_x / measured.sum_g)
    return size / math.sqrt(measured.most_g) if rule == "absolute" else size


class TorchBatchRunner(BatchRunner):
    """Runs layers on their batches alone.

    Parameters
    ----------
    batches : Batches
        Decides them.
    device : str
        The device.
    turn : callable
        Returns a context in which nobody else uses what is recorded.
    """

    def __init__(
        self, batches: Batches, device: str, turn: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._batches, self._device, self._turn = batches, device, turn

    def layer(
        self,
        positions: FloatArray,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Return the layer that a batch decides; see `kflow.engine.interface.BatchRunner`."""
        everything = batch._replace(rows=np.arange(len(positions), dtype=np.intp))
        with self._turn():
            decision, report = self._batches.layer(
                to_device(positions, self._device),
                Parcel.of(everything, targets, labels, options, self._device),
                options,
                lambda decision: decision.extent,
            )
        return Layer(positions, host_copy(decision.coefficients), report.step), report
