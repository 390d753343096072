"""Points of a flow on a device, and layers of batches alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kflow._base.array_types import FloatArray, Rows
from kflow.engine.interface import (
    BatchRunner,
    Diverged,
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    MovingPoints,
    Profile,
)
from kflow.engine.torch.arrays import TorchArray
from kflow.engine.torch.batch import Descent, Extent, descend
from kflow.engine.torch.move import LayerOnDevice, displace

__all__ = ["TorchBatchRunner", "TorchMovingPoints", "replayed", "to_device"]

# A layer that moves the points by more than this many times their own size has diverged.
_EXPLOSION = 10.0

_REMEDY = ": pass a smaller step_size or a larger nugget"


@dataclass(frozen=True)
class _Positions:
    """Points, and how many layers they contain: replaced together, in one step."""

    sets: tuple[Tensor, ...]
    n_layers: int


@dataclass(frozen=True)
class _Pending:
    """The displacements of a layer that is not in the points yet, and its step."""

    displacements: tuple[Tensor, ...]
    step: float


def to_device(array: npt.NDArray[Any], device: str) -> Tensor:
    """Return the numbers of an array on a device; on this process's own, the tensor is the array."""
    if isinstance(array, TorchArray):
        return array.tensor
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def moved(points: Tensor, displacement: Tensor, step: float) -> Tensor:
    """Return points (n, k) whose first coordinates are moved by step times a displacement (n, q)."""
    after = points.clone()
    # Two operations, each of which rounds once: a fused one may round otherwise at the end of a row.
    after[:, : displacement.shape[1]] += displacement * step
    return after


def _run(
    centres: Tensor,
    targets: FloatArray,
    labels: npt.NDArray[np.intc] | None,
    batch: FlowBatch,
    profile: Profile,
    options: LayerOptions,
    n_moving: int,
) -> Descent:
    """Return what a batch decides, whose targets and labels are those of its points alone."""
    device = str(centres.device)
    n_coarse = batch.n_coarse
    coarse = np.concatenate([np.arange(n_coarse)[None], batch.halves.reshape(-1, n_coarse)])
    return descend(
        centres,
        to_device(targets, device),
        None if labels is None else to_device(labels, device),
        to_device(coarse.astype(np.int64), device),
        profile,
        options,
        n_moving,
    )


def _report(
    descent: Descent, coefficients: Tensor, extent: Extent, options: LayerOptions
) -> LayerReport:
    """Return what was measured, by one transfer to the host.

    Raises
    ------
    Diverged
        If a value is not finite, or the points would move too far.
    """
    finite = torch.isfinite(coefficients).all()
    measured = torch.stack([descent.rho, descent.class_distance_ratio, finite.double()])
    rho, ratio, is_finite, least, most_g, sum_x, sum_g = torch.cat(
        [measured, extent.numbers()]
    ).tolist()
    if not (is_finite and math.isfinite(rho) and math.isfinite(sum_g) and math.isfinite(sum_x)):
        raise Diverged(f"a value is no longer finite{_REMEDY}")
    step = _step(options.step, options.step_size, least, most_g, sum_x, sum_g)
    relative = step * math.sqrt(sum_g / sum_x) if sum_x > 0.0 else 0.0
    if relative > _EXPLOSION:
        raise Diverged(
            f"one layer would move the points by {relative:g} times their rms norm{_REMEDY}"
        )
    if step > torch.finfo(coefficients.dtype).max:
        raise Diverged(
            "the step is too large for the precision of the points, because the loss hardly depends on "
            "them: pass a larger length scale"
        )
    return LayerReport(rho, step, ratio)


def _step(
    rule: str, size: float, least_ratio: float, most_g: float, sum_x: float, sum_g: float
) -> float:
    """Return the step that a rule gives."""
    if sum_g == 0.0:
        return 0.0
    if rule == "relative":
        return 0.0 if math.isinf(least_ratio) else size * math.sqrt(least_ratio)
    if rule == "rms":
        return size * math.sqrt(sum_x / sum_g)
    return size / math.sqrt(most_g) if rule == "absolute" else size


def _to_host(tensor: Tensor) -> FloatArray:
    """Return a new array with the numbers of a tensor."""
    return np.array(tensor.cpu().numpy())


class TorchMovingPoints(MovingPoints):
    """Points that stay on a device.

    A layer's displacements are kept until the next layer, or `settle`, adds them: a caller may not
    count the layer. Points are replaced, never changed, so that an exception leaves them as they were;
    they take twice their room for a moment, and a third time for the displacements.
    """

    def __init__(
        self,
        sets: Sequence[FloatArray],
        n_fixed: int,
        profile: Profile,
        n_layers: int,
        device: str,
    ) -> None:
        self._n_fixed, self._profile, self._device = n_fixed, profile, device
        tensors = tuple(to_device(x, device) for x in sets)
        self._now = _Positions(tensors, n_layers)
        self._pending: _Pending | None = None

    @property
    def n_layers(self) -> int:  # type: ignore[override]
        """How many layers the points themselves contain."""
        return self._now.n_layers

    def layer(
        self,
        number: int,
        batch: FlowBatch,
        targets: FloatArray,
        labels: npt.NDArray[np.intc] | None,
        options: LayerOptions,
        n_threads: int,
    ) -> tuple[Layer, LayerReport]:
        """Run a layer, which then pends; see `kflow.engine.interface.MovingPoints`."""
        self.settle(number, n_threads)
        points = self._now.sets[0]
        rows = to_device(batch.rows, self._device)
        centres = points[rows]
        n_moving = points.shape[1] - self._n_fixed
        descent = _run(
            centres,
            targets[batch.rows],
            None if labels is None else labels[batch.rows],
            batch,
            self._profile,
            options,
            n_moving,
        )
        # In the order in which a replay has them: products round by the order, too.
        coefficients = descent.coefficients.to(points.dtype).contiguous()
        ready = LayerOnDevice(centres, coefficients)
        displacements = tuple(x.new_empty(len(x), n_moving) for x in self._now.sets)
        for x, out in zip(self._now.sets, displacements, strict=True):
            displace(ready, x, self._profile, out)
        extent = (
            Extent.of(centres, descent.displacements)
            if options.over_batch
            else Extent.of(points, displacements[0])
        )
        report = _report(descent, coefficients, extent, options)
        layer = Layer(_to_host(centres), _to_host(coefficients), report.step)
        self._pending = _Pending(displacements, report.step)
        return layer, report

    def settle(self, n_layers: int, n_threads: int) -> None:
        """Add what is pending, so that the points contain so many layers; forget it if they do."""
        now, pending = self._now, self._pending
        if now.n_layers < n_layers:
            assert pending is not None
            sets = tuple(
                moved(x, g, pending.step)
                for x, g in zip(now.sets, pending.displacements, strict=True)
            )
            self._now = _Positions(sets, n_layers)
            self._pending = None

    def through(self, layers: Sequence[Layer], n_threads: int) -> None:
        """Move all settled points through layers that were run elsewhere."""
        sets = tuple(replayed(x, layers, self._profile) for x in self._now.sets)
        self._now = _Positions(sets, self._now.n_layers + len(layers))

    def to_host(self) -> list[FloatArray]:
        """Return the coordinates of each set, which may be those of the points themselves."""
        return [x.cpu().numpy() for x in self._now.sets]

    def on_device(self) -> list[FloatArray]:
        """Return the coordinates of each set where they are."""
        return [cast(Any, TorchArray(x)) for x in self._now.sets]

    def training_rows(self, rows: Rows) -> FloatArray:
        """Return some rows of the first set."""
        return _to_host(self._now.sets[0][to_device(rows, self._device)])

    def rest(self) -> None:
        """Give back the memory of the displacements."""
        self._pending = None

    def release_scratch(self) -> None:
        """Do nothing: the algebra of a batch keeps no memory."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy keep of settled points: arrays, which any device can take."""
        sets = [_to_host(x) for x in self._now.sets]
        return {**self.__dict__, "_now": (sets, self._now.n_layers), "_pending": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` kept."""
        sets, n_layers = state["_now"]
        tensors = tuple(to_device(x, state["_device"]) for x in sets)
        self.__dict__.update(state, _now=_Positions(tensors, n_layers))


def replayed(points: Tensor, layers: Sequence[Layer], profile: Profile) -> Tensor:
    """Return points (n, k) after layers."""
    for z, c, step in layers:
        tensors = (to_device(a, str(points.device)) for a in (z, c))
        displacement = points.new_empty(len(points), c.shape[1])
        displace(LayerOnDevice(*tensors), points, profile, displacement)
        points = moved(points, displacement, step)
    return points


class TorchBatchRunner(BatchRunner):
    """Runs layers on their batches alone."""

    def __init__(self, n_fixed: int, profile: Profile, device: str) -> None:
        self._n_fixed, self._profile, self._device = n_fixed, profile, device

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
        centres = to_device(positions, self._device)
        n_moving = positions.shape[1] - self._n_fixed
        descent = _run(centres, targets, labels, batch, self._profile, options, n_moving)
        coefficients = descent.coefficients.to(centres.dtype).contiguous()
        report = _report(descent, coefficients, Extent.of(centres, descent.displacements), options)
        return Layer(positions, _to_host(coefficients), report.step), report
