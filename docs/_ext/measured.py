"""What was measured, in tables and in text, read from the files that the benchmarks wrote.

    ```{measured} limit
    :rows: rows
    :where: N = 60000, d = 1 100 784

    d | d
    move, s | move_s .5f
    ```

is a table of the rows that meet the conditions, with a column for each line: its heading, an entry of
the rows, and perhaps a format. Further options: `mean` names a list of dicts in each row, which is replaced by
their mean; `pivot` an entry whose values become columns, with cells of the entry and format `cell`.

    {measured}`layer small.layers_per_second .0f`

is one number. The configuration's `measured_files` says where a file is, given its name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

Row = dict[str, Any]


def load(env: Any, name: str) -> tuple[str, dict[str, Any]]:
    """Return the path from the repository's root of a measurement, and what is in it."""
    docs = Path(env.srcdir)
    file = (docs / env.config.measured_files.format(name)).resolve()
    env.note_dependency(str(file))
    return file.relative_to(docs.parent).as_posix(), json.loads(file.read_text(encoding="utf-8"))


def lookup(data: Any, path: str) -> Any:
    """Return what is at a path such as ``rows.0.errors``."""
    for step in path.split("."):
        data = data[int(step)] if isinstance(data, list) else data[step]
    return data


def cell(data: Any, text: str) -> str:
    """Return the entry at a path, in a format that may follow it; a dash for null, which was not measured."""
    path, _, form = text.partition(" ")
    entry = lookup(data, path)
    return "\N{EN DASH}" if entry is None else format(entry, form.strip())


def chosen(rows: list[Row], conditions: str) -> list[Row]:
    """Return the rows that meet conditions such as ``N = 60000, d = 1 2``."""
    for condition in filter(None, conditions.split(",")):
        key, _, values = (part.strip() for part in condition.partition("="))
        rows = [row for row in rows if str(row[key]) in values.split()]
    return rows


def mean(items: list[Any]) -> Any:
    """Return the mean of numbers, or the dict of the means of dicts of dicts or numbers."""
    if isinstance(items[0], dict):
        return {key: mean([item[key] for item in items]) for key in items[0]}
    return sum(items) / len(items)


def table(headings: list[str], cells: list[list[str]]) -> nodes.table:
    """Return a table of texts."""
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=1) for _ in headings]
    for part, rows in ((nodes.thead(), [headings]), (nodes.tbody(), cells)):
        for row in rows:
            line = nodes.row()
            line += [nodes.entry("", nodes.paragraph(text=text)) for text in row]
            part += line
        group += part
    return nodes.table("", group, classes=["measured"])


def provenance(file: str, machine: dict[str, Any]) -> nodes.paragraph:
    """Return a line on the file and the machine."""
    threads = f"{machine['n_threads']} thread{'' if machine['n_threads'] == 1 else 's'}"
    words = [machine["processor"], threads, machine["simd_level"], machine["date"]]
    text = f": {', '.join(words)}"
    return nodes.paragraph("", "", nodes.literal(text=file), nodes.Text(text), classes=["source"])


class Measured(SphinxDirective):
    """The directive."""

    required_arguments = 1
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' own way)
        "rows": directives.unchanged_required,
        "where": directives.unchanged,
        "mean": directives.unchanged,
        "pivot": directives.unchanged,
        "cell": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the table and where it is from."""
        try:
            file, data = load(self.env, self.arguments[0])
            return [table(*self._cells(data)), provenance(file, data["machine"])]
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise self.error(f"{self.arguments[0]}: {type(error).__name__}: {error}") from None

    def _cells(self, data: Any) -> tuple[list[str], list[list[str]]]:
        rows = chosen(lookup(data, self.options["rows"]), self.options.get("where", ""))
        if not rows:
            raise ValueError("no row meets the conditions")
        if averaged := self.options.get("mean"):
            rows = [{**row, averaged: mean(row[averaged])} for row in rows]
        columns = [tuple(part.strip() for part in line.split("|", 1)) for line in self.content]
        headings = [heading for heading, _ in columns]
        heads = [tuple(cell(row, text) for _, text in columns) for row in rows]
        key = self.options.get("pivot")
        if key is None:
            return headings, [list(head) for head in heads]
        cells: dict[tuple[str, ...], dict[str, str]] = {}
        for head, row in zip(heads, rows, strict=True):
            cells.setdefault(head, {})[str(row[key])] = cell(row, self.options["cell"])
        values = list(dict.fromkeys(str(row[key]) for row in rows))
        lines = [[*head, *(by.get(value, "") for value in values)] for head, by in cells.items()]
        return headings + [value.replace("_", " ") for value in values], lines


class MeasuredNumber(SphinxRole):
    """The role."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number."""
        try:
            name, entry = self.text.split(maxsplit=1)
            return [nodes.Text(cell(load(self.env, name)[1], entry))], []
        except (OSError, LookupError, TypeError, ValueError) as error:
            message = self.inliner.reporter.error(
                f"{self.text}: {type(error).__name__}: {error}", line=self.lineno
            )
            return [], [message]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register directive, role and configuration."""
    app.add_config_value("measured_files", "", "env", (str,))
    app.add_directive("measured", Measured)
    app.add_role("measured", MeasuredNumber())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
