"""The engine on a device of PyTorch: flows and kernel matrices; all else is the compiled core's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, ClassVar, cast

import numpy.typing as npt
import torch

from kflow._base.array_types import FloatArray
from kflow._base.warn import warn_user
from kflow.engine.interface import Layer, MovingPoints, Profile
from kflow.engine.torch.arrays import TorchArray, adopted, write
from kflow.engine.torch.derivatives import pull_back, push_forward
from kflow.engine.torch.device_arithmetic import DeviceArithmetic
from kflow.engine.torch.lanes import Lane
from kflow.engine.torch.layers import TorchBatchRunner
from kflow.engine.torch.matrix_engine import MatrixEngine
from kflow.engine.torch.memory import free_bytes, resident_bytes, streamed_bytes
from kflow.engine.torch.move import LayerOnDevice
from kflow.engine.torch.precision import Precision, float32_products
from kflow.engine.torch.repeated import Recorder, recorder_of
from kflow.engine.torch.resident import ResidentPoints
from kflow.engine.torch.streamed import StreamedPoints
from kflow.engine.torch.transfers import to_device
from kflow.errors import FlowWarning, StorageError

__all__ = ["TorchEngine"]


class TorchEngine(MatrixEngine):
    """Flows and kernel matrices on a device; derivatives by parameters and losses by the compiled core.

    Parameters
    ----------
    device : str
        The device as PyTorch names it.
    precision : str
        One of `kflow.engine.PRECISIONS`.
    record : callable, optional
        What records operations of the device; see `kflow.engine.torch.repeated`. CUDA's by default.
    memory_limit : float, optional
        How many bytes flows may take there, in place of what the device has free.

    Raises
    ------
    ImportError
        If this PyTorch cannot use the device, or the device has no float64.
    ValueError
        If no device has that name.
    """

    name: ClassVar[str] = "torch"

    def __init__(
        self,
        device: str,
        precision: str = "float64",
        record: Recorder | None = None,
        memory_limit: float | None = None,
    ) -> None:
        try:
            self._named = str(torch.device(device))
        except (RuntimeError, TypeError):
            raise ValueError(
                f"device must be the name of a device of PyTorch, such as 'cuda', 'cuda:1' or 'cpu', "
                f"or None for the compiled core, got {device!r}"
            ) from None
        try:
            # "cuda" alone is another device in a thread that has chosen another.
            self.device = str(torch.zeros(1, dtype=torch.float64, device=self._named).device)
        except Exception as error:  # each kind of device has errors of its own
            told = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ImportError(
                f"device={device!r} cannot be used by PyTorch {torch.__version__} here ({told}): pass "
                "None for the compiled core, or 'cpu'"
            ) from None
        self.precision = precision
        self._arithmetic = DeviceArithmetic(
            self.device, Precision.named(precision), record or recorder_of(self.device)
        )
        self._memory_limit = memory_limit
        # What is recorded serves one call at a time, and the next when the device is done.
        self._lock, self._repeated = Lock(), self._arithmetic.repeated()
        self._done = Lane.current(self.device).mark()

    def __reduce__(self) -> tuple[type[TorchEngine], tuple[str, str]]:
        """Pickle and copy what the engine is, and nothing that it has recorded."""
        return type(self), (self._named, self.precision)

    @property
    def build(self) -> str:
        """PyTorch's version, the device and the precision, on which the last digits of results depend."""
        kind = torch.device(self.device).type
        chip = torch.cuda.get_device_name(self.device) if kind == "cuda" else kind
        precision = "" if self.precision == "float64" else f", precision {self.precision}"
        return f"PyTorch {torch.__version__}, {chip}{precision}"

    @property
    def key(self) -> tuple[str, str | None, str]:
        """Name, device as it was named, and precision: "cuda" is the current one of the thread that asks first."""
        return self.name, self._named, self.precision

    def adopt(self, value: Any, name: str) -> npt.NDArray[Any] | None:
        """Return a tensor, or what DLPack offers, on this device; see `Engine.adopt`."""
        return cast("npt.NDArray[Any] | None", adopted(value, name, self.device))

    # ---- flows --------------------------------------------------------------------------------

    def moving_points(  # type: ignore[override]
        self, sets: Sequence[FloatArray], n_fixed: int, profile: Profile, n_layers: int
    ) -> MovingPoints:
        """Return the points of a flow: on the device, or passing through it if they are too many.

        A `FlowWarning` says so if they do not stay on the device.

        Raises
        ------
        StorageError
            If the device has too little memory for tiles, too.
        """
        limit = self._memory_limit
        free = free_bytes(self.device) if limit is None else limit
        needed, least = resident_bytes(sets, self.device), streamed_bytes(sets, self.device)
        if needed <= free:
            return ResidentPoints(sets, n_fixed, profile, n_layers, self._arithmetic)
        short = (
            f"device={self._named!r} has {free / 1e9:.3g} GB free, and the points of this flow need "
            f"{needed / 1e9:.3g} GB"
        )
        if any(isinstance(x, TorchArray) for x in sets):
            raise StorageError(
                f"{short} in all: pass X.cpu().numpy(), which can pass through the device in tiles, a rank or "
                "dtype='float32'"
            )
        if least > free:
            raise StorageError(
                f"{short}, or {least / 1e9:.3g} GB to pass through it in tiles, there: pass a rank, "
                "dtype='float32', or device=None for the compiled core"
            )
        warn_user(
            f"{short} to stay there. They stay in this process's memory and pass through the device in "
            f"tiles, which takes {least / 1e9:.3g} GB there and gives the same bits, in more time. A rank "
            "or dtype='float32' makes them smaller, and step_over='batch' saves most passes",
            FlowWarning,
        )
        return StreamedPoints(sets, n_fixed, profile, n_layers, self._arithmetic)

    def batch_runner(self, n_fixed: int, profile: Profile) -> TorchBatchRunner:  # type: ignore[override]
        """Return what runs layers on their batches alone."""
        batches = self._arithmetic.batches(n_fixed, profile, self._repeated)
        return TorchBatchRunner(batches, self.device, self._turn)

    def replay(
        self, points: FloatArray, layers: Sequence[Layer], profile: Profile, n_threads: int
    ) -> None:
        """Move points through layers, in place."""
        with self._turn():
            mover = self._arithmetic.mover(profile, self._repeated)
            write(mover.through(self._tensor(points), layers), points)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let calls that use what is recorded come one after the other, here and on the device."""
        with self._lock:
            here = Lane.current(self.device)
            here.after(self._done)
            try:
                yield
            finally:
                self._done = here.mark()

    def push_layer_forward(
        self, points: FloatArray, layer: Layer, profile: Profile, T: FloatArray, n_threads: int
    ) -> None:
        """Multiply directions by a layer's derivative, in place."""
        directions = self._tensor(T).clone()
        q = layer.coefficients.shape[1]
        with float32_products(self._arithmetic.precision.tf32):
            push_forward(self._layer(layer), q, self._tensor(points), profile, directions)
        T[...] = directions.cpu().numpy()

    def pull_layer_back(
        self, points: FloatArray, layer: Layer, profile: Profile, A: FloatArray, n_threads: int
    ) -> None:
        """Multiply covectors by a layer's transposed derivative, in place."""
        covectors = self._tensor(A).clone()
        q = layer.coefficients.shape[1]
        with float32_products(self._arithmetic.precision.tf32):
            pull_back(self._layer(layer), q, self._tensor(points), profile, covectors)
        A[...] = covectors.cpu().numpy()

    def _tensor(self, array: FloatArray) -> torch.Tensor:
        return to_device(array, self.device)

    def _layer(self, layer: Layer) -> LayerOnDevice:
        return LayerOnDevice.of(self._tensor(layer.centres), self._tensor(layer.coefficients))
