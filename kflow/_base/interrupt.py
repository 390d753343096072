"""Ctrl-C takes effect between layers, never inside the bookkeeping of a layer."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["DeferredInterrupt"]


class DeferredInterrupt:
    """Context manager that notes Ctrl-C and raises KeyboardInterrupt only at its end.

    It does nothing outside the main thread, or where other code handles the signal.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def _note(self, *_: int | FrameType | None) -> None:
        self.requested = True

    def __enter__(self) -> DeferredInterrupt:
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.requested and error is None:
            raise KeyboardInterrupt
