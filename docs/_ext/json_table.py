"""Tables of what was measured, made from the JSON that the measurement wrote.

    ```{json-table} ../bench/results/limit.json
    :rows: rows
    :where: N = 60000, dtype = float32
    :labels: by

    d | {d}
    move, s | {move_s:.5f}
    ```

Each line of the content is a column: its heading, and a format of the row's entries. `rows` is the way
to the list in the file, such as ``rows.0.errors``; `where` keeps the rows with these entries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


def lookup(data: Any, path: str) -> Any:
    """Return what is at a path such as ``rows.0.errors``."""
    for step in path.split("."):
        data = data[int(step)] if isinstance(data, list) else data[step]
    return data


def chosen(rows: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """Return the rows that meet conditions such as ``N = 60000, dtype = float32``."""
    for condition in filter(None, where.split(",")):
        key, _, value = (part.strip() for part in condition.partition("="))
        allowed = value.split()
        rows = [row for row in rows if str(row[key]) in allowed]
    return rows


def provenance(data: dict[str, Any], name: str) -> str:
    """Return the file and the machine of a measurement in a line."""
    machine = data["machine"]
    threads = f"{machine['n_threads']} thread{'' if machine['n_threads'] == 1 else 's'}"
    return (
        f"bench/results/{name}: {machine['processor']}, {threads}, {machine['simd_level']}, "
        f"{machine['compiler']}, {machine['date']}"
    )


def table_of(headings: list[str], cells: list[list[str]]) -> nodes.table:
    """Return a table of texts; cells are aligned by the style sheet."""
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=1) for _ in headings]
    head, body = nodes.thead(), nodes.tbody()
    for part, rows in ((head, [headings]), (body, cells)):
        for row in rows:
            line = nodes.row()
            for text in row:
                line += nodes.entry("", nodes.paragraph(text=text))
            part += line
    group += [head, body]
    return nodes.table("", group, classes=["measured"])


class JsonTable(SphinxDirective):
    """The directive ``json-table``."""

    required_arguments = 1
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' way)
        "rows": directives.unchanged_required,
        "where": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the table and where it is from."""
        relative, file = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            data = json.loads(Path(file).read_text(encoding="utf-8"))
            rows = chosen(lookup(data, self.options["rows"]), self.options.get("where", ""))
            if not rows:
                raise ValueError("no row is left")
            columns = [[part.strip() for part in line.split("|", 1)] for line in self.content]
            cells = [[text.format(**row) for _, text in columns] for row in rows]
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise self.error(f"{self.arguments[0]}: {type(error).__name__}: {error}") from None
        source = nodes.paragraph(
            text=provenance(data, Path(file).name), classes=["measured-source"]
        )
        return [table_of([heading for heading, _ in columns], cells), source]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("json-table", JsonTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
