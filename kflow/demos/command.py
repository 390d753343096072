"""``kflow demo``: run an experiment and write its report."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import click

from kflow.demos import DEMOS, Options, run

__all__ = ["demo"]

# More than any report takes.
_ROOM = 64 * 2**20


@click.command()
@click.argument("name", metavar="NAME", type=click.Choice(list(DEMOS)), required=False)
@click.option("--list", "list_demos", is_flag=True, help="Say what there is.")
@click.option("--quick", is_flag=True, help="The small form: seconds, with the same conclusions.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the report.  [default: kflow-demo/NAME]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Randomness."
)
@click.option("--threads", "n_threads", type=int, help="Threads.  [default: physical cores]")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--quiet", is_flag=True, help="Print the report's path only.")
def demo(
    name: str | None,
    list_demos: bool,
    quick: bool,
    output: Path | None,
    data_dir: Path | None,
    seed: int,
    n_threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the experiment NAME and write a report of it: HTML, Markdown, figures and numbers."""
    if list_demos:
        width = max(map(len, DEMOS), default=0)
        for known, entry in DEMOS.items():
            click.echo(f"{known:<{width}}  {entry.summary}")
        return
    if name is None:
        raise click.UsageError("pass the NAME of a demo: kflow demo --list")
    from kflow._threads import resolve_n_threads

    resolve_n_threads(n_threads)
    folder = Path("kflow-demo", name) if output is None else output
    _check_folder(folder)
    report = run(name, Options(quick, seed, n_threads, data_dir, not quiet))
    try:
        path = report.write(folder)
    finally:  # what was computed is told even where it cannot be written
        if as_json:
            click.echo(report.json(), nl=False)
    if not as_json:
        click.echo(path)


def _check_folder(folder: Path) -> None:
    """Find out before the run what would lose its result."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("results.json", "report.md", "report.html"):
        if (folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(folder / name))
    figures = folder / "figures"
    if figures.exists() and not figures.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(figures))
    with tempfile.TemporaryFile(dir=folder):
        pass
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise OSError(
            f"a report may need {_ROOM / 1e6:.0f} MB, where {folder} has {free / 1e6:.3g} MB free: "
            "pass another --output"
        )
