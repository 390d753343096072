"""Failures of a command, each of them told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from kflow.errors import DivergenceError, SingularKernelError

__all__ = ["FAILURES", "Failures", "one_line", "run_status"]

# Everything that bad input, a full disk or too little memory can raise. A full traceback would bury
# the one line that helps.
FAILURES = (
    DivergenceError,
    ImportError,
    MemoryError,
    OSError,
    SingularKernelError,
    TypeError,
    ValueError,
)


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def run_status(error: BaseException) -> str:
    """Return the status, in the results, of a run that an error ended."""
    if isinstance(error, DivergenceError):
        return "diverged"
    return "singular" if isinstance(error, SingularKernelError) else "failed"


class Failures:
    """The failures of a run that goes on after them. They are told in one line at its end."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, error: BaseException, what: str = "") -> None:
        """Keep an error, and what it prevented."""
        known = isinstance(error, FAILURES)
        line = one_line(error) if known else f"{type(error).__name__}: {one_line(error)}"
        self._lines.append(f"{what}: {line}" if what else line)

    @contextmanager
    def kept(self, what: str) -> Iterator[None]:
        """Keep an exception from the block instead of raising it."""
        try:
            yield
        except Exception as error:
            self.add(error, what)

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._lines)

    def tell(self) -> None:
        """Raise one exception that tells all failures, if there are any.

        Raises
        ------
        click.ClickException
            With each different line once.
        """
        if self._lines:
            raise click.ClickException("; ".join(dict.fromkeys(self._lines)))
