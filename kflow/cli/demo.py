"""``kflow demo``: run an experiment and write its report."""

from __future__ import annotations

from pathlib import Path

import click

from kflow._base.files import check_folder, removed_if_empty
from kflow._base.json_values import to_json
from kflow.cli.options import as_json_option, n_threads_option, seed_option
from kflow.demos import DEMOS, Options, run

__all__ = ["demo"]

# More than any report takes.
_MAX_REPORT_BYTES = 70_000_000
_FILES, _FOLDERS = ("results.json", "report.md", "report.html"), ("figures",)


@click.command()
@click.argument("name", metavar="NAME", type=click.Choice(list(DEMOS)), required=False)
@click.option("--list", "list_demos", is_flag=True, help="List the experiments.")
@click.option(
    "--quick",
    is_flag=True,
    help="Run the small form, which takes seconds and has the same conclusions.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the report.  [default: kflow-demo/NAME]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of the data sets. mnist, fashion-mnist and cifar-10 need it; one-shot and "
    "unseen-classes take MNIST from it instead of digits, image-categories CIFAR-10.",
)
@seed_option()
@n_threads_option()
@as_json_option("Print the results, or the list, as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress: print the path of the report only.")
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
        _print_list(as_json)
        return
    if name is None:
        raise click.UsageError("pass the NAME of a demo: kflow demo --list")
    from kflow.engine.threads import resolve_n_threads

    resolve_n_threads(n_threads)
    folder = Path("kflow-demo", name) if output is None else output
    with removed_if_empty(folder):
        check_folder(
            folder, _MAX_REPORT_BYTES, "pass another --output", files=_FILES, folders=_FOLDERS
        )
        report = run(name, Options(quick, seed, n_threads, data_dir, not quiet))
        try:
            path = report.write(folder)
        finally:  # what was computed is told even where it cannot be written
            if as_json:
                click.echo(report.json(), nl=False)
    if not as_json:
        click.echo(path)


def _print_list(as_json: bool) -> None:
    """Print the names of all experiments and what they show."""
    if as_json:
        click.echo(to_json({name: entry.summary for name, entry in DEMOS.items()}))
        return
    width = max(map(len, DEMOS), default=0)
    for name, entry in DEMOS.items():
        click.echo(f"{name:<{width}}  {entry.summary}")
