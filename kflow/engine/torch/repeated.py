"""Functions of tensors that run again and again: as one launch, where a device can record them.

A graphics processor waits for the launch of each small operation. CUDA records the operations of a
function in a graph, which is launched as a whole. It reads and writes the very same memory each time:
inputs are copied to where it reads them, except for large arrays that stay where they are.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias
from weakref import ref

import torch
from torch import Tensor

from kflow._base.warn import warn_user
from kflow.errors import EngineWarning

__all__ = ["Recorder", "Repeated", "recorder_of"]

Work: TypeAlias = Callable[[], tuple[Tensor, ...]]

# Records a function without arguments. It returns what runs it again, and the tensors that then hold its
# results.
Recorder: TypeAlias = Callable[[Work], tuple[Callable[[], Any], tuple[Tensor, ...]]]

# Recorded functions that are kept. Each keeps its memory. A flow has few at a time: that of its batches, and
# two for each pass over its points.
_MOST = 8

# Keys of functions that have run once: only what comes again is recorded.
_MOST_SEEN = 1000


class _Recorded:
    """A function that was recorded, and the tensors that it reads."""

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        places: Sequence[Tensor],
        inputs: Sequence[Tensor],
        record: Recorder,
    ) -> None:
        self._buffers = [x.clone(memory_format=torch.contiguous_format) for x in inputs]
        # Weak, as a tile is a view of all points, which may be replaced.
        self._loaded = [ref(x) for x in inputs]
        self._again, self._results = record(lambda: function(*places, *self._buffers))

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        for i, (buffer, x) in enumerate(zip(self._buffers, inputs, strict=True)):
            # A layer is copied once for all its tiles.
            if x is not self._loaded[i]():
                buffer.copy_(x)
                self._loaded[i] = ref(x)
        self._again()
        return self._results


class Repeated:
    """Runs functions of tensors, each by the graph of its shapes, or as they are.

    Parameters
    ----------
    record : callable or None
        What records a function; None runs functions as they are. If it fails, an `EngineWarning` says
        so, and all functions run as they are from then on.

    Notes
    -----
    A recorded function must be free of Python's decisions on values, and must not wait for the device.
    """

    def __init__(self, record: Recorder | None) -> None:
        self._record = record
        self._recorded: dict[Hashable, _Recorded] = {}
        self._seen: set[Hashable] = set()

    def __call__(
        self,
        key: Hashable,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        places: Sequence[Tensor] = (),
    ) -> tuple[Tensor, ...]:
        """Return what a function gives.

        Parameters
        ----------
        key : hashable
            What the function depends on besides its arguments; calls of one key, of the same places, and
            of inputs of the same shapes and dtypes run the same operations.
        function : callable
            Takes the places and the inputs, and returns a tuple of tensors. It may write to places, if
            that can be done twice.
        inputs : sequence of Tensor
            They must not change in place after the call: an input that is the tensor of the call before
            is not read again.
        places : sequence of Tensor
            Tensors that are read and written where they are. They are not kept.

        Returns
        -------
        tuple of Tensor
            The results, which the next call of the same key overwrites.
        """
        if self._record is None:
            return function(*places, *inputs)
        shapes = (*((tuple(x.shape), x.dtype) for x in (*places, *inputs)),)
        key = (key, shapes, *(x.data_ptr() for x in places))
        if key not in self._recorded:
            if key not in self._seen:
                if len(self._seen) >= _MOST_SEEN:
                    self._seen.clear()
                self._seen.add(key)
                return function(*places, *inputs)
            while len(self._recorded) >= _MOST:
                del self._recorded[next(iter(self._recorded))]
            try:
                self._recorded[key] = _Recorded(function, places, inputs, self._record)
            except Exception as error:  # each library that is recorded has errors of its own
                self._record = None
                self._recorded.clear()
                warn_user(
                    f"the device cannot record the operations of a layer ({error}): they are launched "
                    "one by one, which is slower and gives the same results",
                    EngineWarning,
                )
                return function(*places, *inputs)
        return self._recorded[key](inputs)

    def forget(self) -> None:
        """Give back the memory of all that is recorded."""
        self._recorded.clear()


# PyTorch records one function at a time, in the whole process.
_RECORDING = Lock()


@dataclass(frozen=True)
class _CudaGraphs:
    """Records functions in CUDA graphs of a device."""

    device: str

    def __call__(self, work: Work) -> tuple[Callable[[], Any], tuple[Tensor, ...]]:
        with _RECORDING, torch.cuda.device(self.device):
            current = torch.cuda.current_stream()
            # The first stream of all cannot record.
            side = torch.cuda.Stream() if current == torch.cuda.default_stream() else current
            side.wait_stream(current)
            # The stream of this context is left even if what is recorded cannot be.
            with torch.cuda.stream(side):
                # Libraries make their handles when they run first, which cannot be recorded.
                for _ in range(3):
                    work()
                with _workspaces_of_its_own(), _no_collection():
                    graph = torch.cuda.CUDAGraph()
                    # Other threads may go on with what they do on the device.
                    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                        results = work()
            current.wait_stream(side)
        return graph.replay, results


@contextmanager
def _workspaces_of_its_own() -> Iterator[None]:
    """Let libraries take memory for what is recorded in a context from the graph's own.

    They keep a workspace for each stream, which all graphs of that stream would share: another graph's end
    may free it, and two graphs that run beside each other may both write to it. `torch.compile` does the
    same for its graphs.
    """
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)
    clear()
    try:
        yield
    finally:
        clear()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let Python free no graph in a context: CUDA then gives up what is being recorded."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def recorder_of(device: str) -> Recorder | None:
    """Return what records functions on a device: a CUDA graph, or None where there are none."""
    return _CudaGraphs(device) if torch.device(device).type == "cuda" else None
