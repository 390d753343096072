"""Settings of the whole process, which a command may change and a library must not."""

from __future__ import annotations

import ctypes
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kflow.cli.output import note

__all__ = ["Stop", "log_shown", "return_freed_memory"]


class Stop:
    """Callback that ends the run after the first Ctrl-C; the second one raises KeyboardInterrupt."""

    interrupts = True  # the run only: the flow goes on when it is resumed

    def __init__(self) -> None:
        self.requested = False

    def _handle(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __enter__(self) -> Stop:
        """Handle Ctrl-C, if the handler is the one that Python installs."""
        # Another handler means that the signal is ignored, as for a job in the background, or that
        # somebody else handles it.
        self._installed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._installed:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        """Bring the earlier handler back."""
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, *_: object) -> bool:
        """Return whether Ctrl-C was pressed."""
        return self.requested


def return_freed_memory() -> None:
    """Have glibc return every freed block of a megabyte or more to the system.

    By default glibc raises that limit to the size of the largest block freed so far, and arrays that
    come and go with every layer fill the process with holes.
    """
    m_mmap_threshold = -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 2**20)


@contextmanager
def log_shown(verbose: bool) -> Iterator[None]:
    """Show what the package logs on standard error, if `verbose`."""
    log = logging.getLogger("kflow")
    handler, level = _NoteHandler(), log.level
    if verbose:
        log.setLevel(logging.INFO)
        log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _NoteHandler(logging.Handler):
    """Shows records of the log as notes, which appear above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        note(record.getMessage())
