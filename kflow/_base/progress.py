"""The progress bars of running flows, of learning and of demos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["flow_progress", "learning_progress", "step_progress"]


@contextmanager
def flow_progress(n_layers: int, n_before: int = 0) -> Iterator[Callable[[float], None]]:
    """Show the layer, rho, the layers per second and the time left on standard error.

    The function that is yielded takes the rho of each layer. The layers come after `n_before` other
    layers, which count as done.
    """
    with _bar(n_before + n_layers, "layer", "rho {task.fields[value]:.3f}", n_before) as advance:
        yield advance


@contextmanager
def learning_progress(n_steps: int) -> Iterator[Callable[[float], None]]:
    """Show the step, the loss, the steps per second and the time left on standard error.

    The function that is yielded takes the loss of each step.
    """
    with _bar(n_steps, "step", "loss {task.fields[value]:.4g}") as advance:
        yield advance


@contextmanager
def step_progress(n_steps: int, unit: str) -> Iterator[Callable[[], None]]:
    """Show the number of finished steps and the time left on standard error."""
    with _bar(n_steps, unit, "") as advance:
        yield lambda: advance(float("nan"))


@contextmanager
def _bar(total: int, unit: str, value: str, done: int = 0) -> Iterator[Callable[[float], None]]:
    columns = (
        TextColumn(unit),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn(value),
        TextColumn(f"{{task.fields[rate]:.1f}} {unit}s/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console()) as bar:
        task = bar.add_task(unit, total=total, completed=done, value=float("nan"), rate=0.0)

        def advance(value: float) -> None:
            speed = bar.tasks[task].speed or 0.0
            bar.update(task, advance=1, value=value, rate=speed)

        yield advance


def _console() -> Console:
    """Return standard error.

    In a notebook Rich needs ipywidgets. Without it, a line that is written again and again serves:
    notebooks know the return to its start.
    """
    console = Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        return Console(stderr=True, force_jupyter=False, force_terminal=True, width=100)
    return console
