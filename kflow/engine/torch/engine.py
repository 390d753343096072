"""The engine on a device of PyTorch: its flows; all else is the compiled core's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy.typing as npt
import torch

from kflow._base.array_types import FloatArray
from kflow.engine.cpu.engine import CpuEngine
from kflow.engine.interface import Layer, Profile
from kflow.engine.torch.arrays import TorchArray, adopted
from kflow.engine.torch.move import LayerOnDevice, pull_back, push_forward
from kflow.engine.torch.moving_points import (
    TorchBatchRunner,
    TorchMovingPoints,
    replayed,
    to_device,
)
from kflow.engine.torch.sums import weighted_sums
from kflow.errors import StorageError

__all__ = ["TorchEngine", "free_bytes"]

# What a flow takes of its points' room: themselves, displacements, and both once more for a moment.
_ROOM = 3.0


def free_bytes(device: str) -> float:
    """Return how many bytes a device can still give; infinity where nobody says."""
    if torch.device(device).type != "cuda":
        return float("inf")
    return float(torch.cuda.mem_get_info(device)[0])


def _write(values: torch.Tensor, out: FloatArray) -> None:
    """Write numbers to an array of either kind."""
    if isinstance(out, TorchArray):
        out.tensor.copy_(values)
    else:
        out[...] = values.cpu().numpy()


class TorchEngine(CpuEngine):
    """Flows on a device; kernel matrices and losses by the compiled core.

    Parameters
    ----------
    device : str
        The device as PyTorch names it.

    Raises
    ------
    ImportError
        If this PyTorch cannot use the device, or the device has no float64.
    ValueError
        If no device has that name.
    """

    name: ClassVar[str] = "torch"

    def __init__(self, device: str) -> None:
        try:
            self.device = str(torch.device(device))
        except (RuntimeError, TypeError):
            raise ValueError(
                f"device must be the name of a device of PyTorch, such as 'cuda', 'cuda:1' or 'cpu', "
                f"or None for the compiled core, got {device!r}"
            ) from None
        try:
            torch.zeros(1, dtype=torch.float64, device=self.device)
        except Exception as error:  # each kind of device has errors of its own
            told = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ImportError(
                f"device={device!r} cannot be used by PyTorch {torch.__version__} here ({told}): pass "
                "None for the compiled core, or 'cpu'"
            ) from None

    @property
    def build(self) -> str:
        """PyTorch's version and the device, on which the last digits of results depend."""
        kind = torch.device(self.device).type
        chip = torch.cuda.get_device_name(self.device) if kind == "cuda" else kind
        return f"PyTorch {torch.__version__}, {chip}"

    def adopt(self, value: Any, name: str) -> npt.NDArray[Any] | None:
        """Return a tensor, or what DLPack offers, on this device; see `Engine.adopt`."""
        return cast("npt.NDArray[Any] | None", adopted(value, name, self.device))

    # ---- flows --------------------------------------------------------------------------------

    def moving_points(  # type: ignore[override]
        self, sets: Sequence[FloatArray], n_fixed: int, profile: Profile, n_layers: int
    ) -> TorchMovingPoints:
        """Return the points of a flow, which stay on the device.

        Raises
        ------
        StorageError
            If the device has too little memory.
        """
        # Points that are there already take no room of their own once more.
        needed = sum(x.nbytes * (_ROOM - isinstance(x, TorchArray)) for x in sets)
        free = free_bytes(self.device)
        if needed > free:
            raise StorageError(
                f"device={self.device!r} has {free / 1e9:.1f} GB free, and the points of this flow need "
                f"{needed / 1e9:.1f} GB there: pass a rank, dtype='float32', or device=None for the "
                "compiled core"
            )
        return TorchMovingPoints(sets, n_fixed, profile, n_layers, self.device)

    def batch_runner(self, n_fixed: int, profile: Profile) -> TorchBatchRunner:  # type: ignore[override]
        """Return what runs layers on their batches alone."""
        return TorchBatchRunner(n_fixed, profile, self.device)

    def replay(
        self, points: FloatArray, layers: Sequence[Layer], profile: Profile, n_threads: int
    ) -> None:
        """Move points through layers, in place."""
        _write(replayed(self._tensor(points), layers, profile), points)

    def apply(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        profile: Profile,
        step: float,
        base: FloatArray | None,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write base + step K(X, Z) C to `out`, where X may be in either memory."""
        values = weighted_sums(self._tensor(X), self._tensor(Z), self._tensor(C), profile) * step
        _write(values if base is None else self._tensor(base) + values, out)

    def push_layer_forward(
        self, points: FloatArray, layer: Layer, profile: Profile, T: FloatArray, n_threads: int
    ) -> None:
        """Multiply directions by a layer's derivative, in place."""
        directions = self._tensor(T).clone()
        push_forward(self._layer(layer), self._tensor(points), profile, directions)
        T[...] = directions.cpu().numpy()

    def pull_layer_back(
        self, points: FloatArray, layer: Layer, profile: Profile, A: FloatArray, n_threads: int
    ) -> None:
        """Multiply covectors by a layer's transposed derivative, in place."""
        covectors = self._tensor(A).clone()
        pull_back(self._layer(layer), self._tensor(points), profile, covectors)
        A[...] = covectors.cpu().numpy()

    def _tensor(self, array: FloatArray) -> torch.Tensor:
        return to_device(array, self.device)

    def _layer(self, layer: Layer) -> LayerOnDevice:
        return LayerOnDevice(self._tensor(layer.centres), self._tensor(layer.coefficients))
