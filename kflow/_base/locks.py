"""Locks for objects that several threads use, and that may be copied and pickled."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Any
from weakref import WeakSet

__all__ = ["OwnLock", "Turn"]


class OwnLock:
    """A re-entrant lock. A copy of its owner, also by pickle, gets a lock of its own.

    So does a forked child, in which the thread that held the lock does not exist.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Become a lock that nobody holds."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Wait for the lock and take it."""
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickle and copy make: another lock."""
        return type(self), ()


_LOCKS: WeakSet[OwnLock] = WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_LOCKS):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Turn:
    """A lock that nobody waits for: while one holds it, an error is raised for everybody else.

    Parameters
    ----------
    message : str
        The text of that error.
    """

    def __init__(self, message: str) -> None:
        self._lock = threading.Lock()
        self._message = message
        self._owner = 0

    def check(self) -> None:
        """Raise RuntimeError if another thread has the turn."""
        if self._lock.locked() and self._owner != threading.get_ident():
            raise RuntimeError(self._message)

    def __enter__(self) -> None:
        """Take the turn, or raise RuntimeError."""
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(self._message)
        self._owner = threading.get_ident()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the turn."""
        self._owner = 0
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickle and copy make: a turn that nobody has."""
        return type(self), (self._message,)
