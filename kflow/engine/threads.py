"""How many threads the engine uses, and NumPy's and SciPy's algebra on one thread.

The engine calls no BLAS. Where NumPy or SciPy compute something that a flow or a model is made of,
BLAS runs on one thread, because its results depend on its number of threads. That number is a
setting of the whole process: it becomes one when the first of several concurrent callers enters,
and is restored when the last one leaves.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from kflow._base.arguments import shown
from kflow.engine.cpu import _core

__all__ = ["get_num_threads", "resolve_n_threads", "set_num_threads", "single_threaded_blas"]

# Larger numbers count as this one, which is more than any machine makes use of: every thread takes
# memory of its own. Where the system refuses threads, the engine goes on with those that it has.
_MAX_THREADS = 512

_default: int | None = None


def _positive(value: Any, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1 or isinstance(value, (bool, float)):
        raise ValueError(f"{name} must be a positive whole number, got {shown(value)}")
    return min(number, _MAX_THREADS)


def _cgroup_quota() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup, or the quota is "max"
        return None


def _allowed_cpus() -> frozenset[int]:
    """Return this process's affinity mask."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return frozenset(range(os.cpu_count() or 1))


@functools.cache
def _physical_cores(cpus: frozenset[int]) -> int:
    """Count the physical cores among some processors, within the cgroup's quota."""
    cores = set()
    for cpu in cpus:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text().strip())
        except OSError:
            cores.add(str(cpu))
    count = max(1, len(cores))
    quota = _cgroup_quota()
    return count if quota is None else min(count, quota)


def set_num_threads(n: int | None) -> None:
    """Set how many threads are used by calls without the argument `n_threads`.

    Parameters
    ----------
    n : int or None
        At least 1 (more than 512 counts as 512). None returns to the default of `get_num_threads`.

    Raises
    ------
    ValueError
        If `n` is not a positive whole number.
    """
    global _default
    _default = None if n is None else _positive(n, "n")


def get_num_threads() -> int:
    """Return how many threads are used by a call without the argument `n_threads`.

    That is the number given to `set_num_threads`, else ``KFLOW_NUM_THREADS``, else
    ``OMP_NUM_THREADS``, else the number of physical cores that this process may use. A limit put on
    OpenMP by threadpoolctl is respected.
    """
    if _default is not None:
        return _default
    for name in ("KFLOW_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0].strip()
        if value:
            # OpenMP has read its variable before; threadpoolctl may have lowered the limit since.
            limit = _core.max_team_size() if name == "OMP_NUM_THREADS" else _MAX_THREADS
            return min(_positive(value, name), limit)
    return min(_physical_cores(_allowed_cpus()), _core.max_team_size(), _MAX_THREADS)


def resolve_n_threads(n_threads: int | None) -> int:
    """Return the thread count for one call."""
    if n_threads is None:
        return get_num_threads()
    return _positive(n_threads, "n_threads")


def _setter(library: Any) -> Callable[[int], Any]:
    """Return the function that sets a BLAS library's threads for the whole process.

    If several Python threads set the number of OpenBLAS's own threads, threadpoolctl ignores all
    but one of them from version 3.8 on. Here several may do so, and they are counted. The function
    of OpenBLAS itself is therefore returned.
    """
    if library.internal_api == "openblas" and library.threading_layer != "openmp":
        for prefix, suffix in product(("scipy_", ""), ("", "64_", "_64")):
            function = getattr(library.dynlib, f"{prefix}openblas_set_num_threads{suffix}", None)
            if function is not None:
                return cast("Callable[[int], Any]", function)
    return cast("Callable[[int], Any]", library.set_num_threads)


@functools.lru_cache(maxsize=1)
def _blas_libraries(_n_modules: int) -> list[Any]:
    """Return the BLAS libraries of the process, which has loaded this number of Python modules.

    Searching everything that a process has mapped takes milliseconds, so that the result is cached.
    A library is loaded with a module that needs it: while the number of modules stays the same,
    there are no new libraries.
    """
    from threadpoolctl import ThreadpoolController

    return cast("list[Any]", ThreadpoolController().select(user_api="blas").lib_controllers)


class _SingleThreadedBlas:
    """Context manager: BLAS computes on one thread inside. Re-entrant and thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        # For each library, by its path: the function that sets its threads, and their old number.
        self._saved: dict[str, tuple[Callable[[int], Any], int]] = {}

    def __enter__(self) -> None:
        with self._lock:
            # Looked up at each entry: SciPy loads a library of its own when it is imported.
            for library in _blas_libraries(len(sys.modules)):
                if library.filepath not in self._saved:
                    set_num_threads = _setter(library)
                    self._saved[library.filepath] = set_num_threads, library.get_num_threads()
                    set_num_threads(1)
            self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._restore()

    def _restore(self) -> None:
        for set_num_threads, n_threads in self._saved.values():
            set_num_threads(n_threads)
        self._saved.clear()


single_threaded_blas = _SingleThreadedBlas()


def _after_fork_in_child() -> None:
    # Another thread of the parent process may have held the lock, or been inside the context.
    blas = single_threaded_blas
    blas._lock = threading.Lock()
    blas._depth = 0
    blas._restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
