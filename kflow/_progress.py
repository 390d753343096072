"""The progress bar of a running flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from kflow.flow import KernelFlow

__all__ = ["flow_progress"]


@contextmanager
def flow_progress(n_layers: int) -> Iterator[Callable[[KernelFlow], None]]:
    """Show layer, rho, layers per second and time left on standard error."""
    columns = (
        TextColumn("layer"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("rho {task.fields[rho]:.3f}"),
        TextColumn("{task.fields[rate]:.1f} layers/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("flow", total=n_layers, rho=float("nan"), rate=0.0)

        def report(flow: KernelFlow) -> None:
            speed = bar.tasks[task].speed or 0.0
            bar.update(task, advance=1, rho=flow._records[-1][0], rate=speed)

        yield report
