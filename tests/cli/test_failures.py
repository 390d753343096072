from __future__ import annotations

import click
import pytest

from kflow import DivergenceError, SingularKernelError
from kflow.cli.failures import Failures, one_line, run_status


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (FileNotFoundError(2, "No such file", "a.npz"), "a.npz: No such file"),
        (ValueError("two\n  lines"), "two lines"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_an_error_is_one_line(error, line):
    assert one_line(error) == line


def test_how_a_run_ended():
    errors = (DivergenceError("x"), SingularKernelError("x"), RuntimeError("x"))
    assert [run_status(error) for error in errors] == ["diverged", "singular", "failed"]


def test_failures_are_told_together_and_once():
    failures = Failures()
    assert not failures
    failures.tell()
    for error in (ValueError("bad"), ValueError("bad"), KeyError("key")):
        with failures.kept("not written"):
            raise error
    failures.add(MemoryError())
    assert failures
    with pytest.raises(click.ClickException) as told:
        failures.tell()
    assert told.value.message == "not written: bad; not written: KeyError: 'key'; MemoryError"


def test_ctrl_c_is_no_failure():
    failures = Failures()
    with pytest.raises(KeyboardInterrupt), failures.kept("not written"):
        raise KeyboardInterrupt
    assert not failures
