"""Allocations and system calls that fail when they are called for the n-th time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FAILING", "failing"]

# What can fail: where it is, its name, and with what.
FAILING: dict[str, tuple[Any, str, Callable[[], BaseException]]] = {
    "allocation": (np, "empty", MemoryError),
    "open": (Path, "open", lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    "fsync": (os, "fsync", lambda: OSError(errno.EIO, os.strerror(errno.EIO))),
    "replace": (os, "replace", lambda: OSError(errno.EACCES, os.strerror(errno.EACCES))),
}


@contextmanager
def failing(what: str, after: int) -> Iterator[list[int]]:
    """Let a function of `FAILING` fail once, after so many calls that succeed.

    Yields
    ------
    list of int
        It has an entry once the function has failed.
    """
    owner, name, error = FAILING[what]
    function = getattr(owner, name)
    calls, failed = [0], []

    def call(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == after + 1:
            failed.append(after)
            raise error()
        return function(*arguments, **options)

    setattr(owner, name, call)
    try:
        yield failed
    finally:
        setattr(owner, name, function)
