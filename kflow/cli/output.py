"""What commands print: notes on standard error, tables or JSON on standard output."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from kflow._base.json_values import to_json

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["info_table", "no_note", "note", "print_data", "results_table"]


def note(text: str) -> None:
    """Print a line on standard error."""
    with suppress(OSError):  # nobody reads it
        click.echo(text, err=True)


def no_note(_text: str) -> None:
    """Print nothing."""


def print_data(
    data: Mapping[str, Any], as_json: bool, table: Callable[[Mapping[str, Any]], Table]
) -> None:
    """Print data as JSON, or as the table that `table` makes of them."""
    if as_json:
        click.echo(to_json(data))
        return
    from rich.console import Console

    Console(file=sys.stdout, highlight=False).print(table(data))


def results_table(results: Mapping[str, Any]) -> Table:
    """Return the results of `kflow fit` as a table."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{results['dataset']}: test error",
        caption=_caption(results),
        box=box.SIMPLE_HEAD,
    )
    fill = _fill_regression if results["task"] == "regression" else _fill_classification
    fill(table, results)
    return table


def _caption(results: Mapping[str, Any]) -> str:
    rate = results["model"]["layers_per_second"]
    speed = f", {rate:.1f} layers/s" if rate else ""
    return f"{results['model']['n_layers']} layers{speed}; {results['seconds']:.1f} s in all"


def _fill_regression(table: Table, results: Mapping[str, Any]) -> None:
    errors, mean = results["errors"], results.get("baseline", math.nan)
    cells = {"RMSE": f"{errors['rmse']:.6g}", "R^2": f"{errors['r2']:.4f}"}
    if "error_before" in results:
        cells["RMSE before the flow"] = f"{results['error_before']:.6g}"
    cells["RMSE of the mean"] = f"{mean:.6g}"
    for name in cells:
        table.add_column(name, justify="right")
    table.add_row(*cells.values())


def _fill_classification(table: Table, results: Mapping[str, Any]) -> None:
    for name in ("interpolation points", "average", "min", "max", "std"):
        table.add_column(name, justify="right")
    for row in results["errors"]:
        shares = (row[name] for name in ("average", "min", "max", "std"))
        table.add_row(str(row["n_interpolation"]), *(f"{100 * share:.2f} %" for share in shares))
    n_interpolation = results["model"]["n_interpolation"]
    table.add_row(f"model: {n_interpolation}", f"{100 * results['model_error']:.2f} %")
    if "error_before" in results:
        table.add_row("the same before the flow", f"{100 * results['error_before']:.2f} %")
    if "baseline" in results:
        table.add_row("the most frequent class", f"{100 * results['baseline']:.2f} %")


def info_table(info: Mapping[str, Any]) -> Table:
    """Return the description of a model as a table of names and values."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in _flat(info):
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return names and values of nested mappings in one list."""
    pairs: list[tuple[str, Any]] = []
    for name, value in data.items():
        nested = isinstance(value, Mapping)
        pairs += _flat(value, f"{prefix}{name} ") if nested else [(f"{prefix}{name}", value)]
    return pairs
