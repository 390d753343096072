"""Threads for Python functions that leave the interpreter to others, such as products and files."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Workers"]

In = TypeVar("In")
Out = TypeVar("Out")


class Workers:
    """A context in which functions are called by threads, which end with it.

    Where the system starts fewer threads there are fewer, and where it starts none, the calling
    thread calls the functions. (The pools of the standard library raise RuntimeError then, and may call
    a function nevertheless.)

    Parameters
    ----------
    n_threads : int
        The largest number of threads.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._threads: list[threading.Thread] = []
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def __enter__(self) -> Workers:
        """Start the threads."""
        while len(self._threads) < self._n_threads:
            thread = threading.Thread(target=self._work, name="kflow", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system starts no more
                break
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for all calls."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def submit(self, function: Callable[..., Out], *args: Any) -> Future[Out]:
        """Return what will have the result of a call."""
        future: Future[Out] = Future()
        call = future, lambda: function(*args)
        if self._threads:
            self._calls.put(call)
        else:
            _made(*call)
        return future

    def map(self, function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """Iterate over the results for some items, in their order."""
        futures = deque(self.submit(function, item) for item in items)
        while futures:
            yield futures.popleft().result()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            _made(*call)


def _made(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # it is raised where the result is asked for
        future.set_exception(error)
