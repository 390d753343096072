"""The reports of the reproduction: what there is, and their numbers next to those of the slides.

    ```{reports}
    swiss-roll | Two spirals unroll.
    ```

lists the folders of `kflow demo NAME --output reproduction/NAME`, with what each shows, and takes the
reports into the table of contents.

    ```{slides} mnist numbers.errors
    6000 | 0.014 | 0.0136 | 0.0143
    ```

puts the slides' average, smallest and largest error, for a number of interpolation points, next to
those in the report's results.json, a list of dicts with the keys n_interpolation, average, min and max.

A folder that is not here is an error, unless the configuration's `reports_to_come` names it.
"""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class _Results(SphinxDirective):
    """What both directives do."""

    has_content = True

    def results(self, name: str) -> dict[str, Any] | None:
        """Return the numbers of a report; None if it is to come."""
        file = Path(self.env.srcdir, "reproduction", name, "results.json")
        to_come = name in self.config.reports_to_come
        if file.is_file() == to_come:
            raise self.error(f"{file}: {'is here: no report' if to_come else 'no report'} to come")
        if to_come:
            return None
        self.env.note_dependency(str(file))
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return data

    def rows(self) -> list[list[str]]:
        """Return the cells of the content."""
        return [[cell.strip() for cell in line.split("|")] for line in self.content if line.strip()]

    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        """Return what lines of Markdown say."""
        return self.parse_text_to_nodes("\n".join(lines))


class Reports(_Results):
    """The directive ``reports``."""

    def run(self) -> list[nodes.Node]:
        """Return a table and the table of contents."""
        table = ["| experiment | what it shows | time | command |", "|---|---|---|---|"]
        contents = ["```{toctree}", ":hidden:", ""]
        for name, what in self.rows():
            data = self.results(name)
            if data is not None:
                page = f"reproduction/{name}/report"
                link = f"[{data['title']}]({page}.md)"
                table.append(
                    f"| {link} | {what} | {duration(data['seconds'])} | `{data['command']}` |"
                )
                contents.append(page)
        if len(contents) == 3:
            return []
        return [*self.markdown(table), *self.markdown([*contents, "```"])]


class Slides(_Results):
    """The directive ``slides``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        name, path = self.arguments
        data = self.results(name)
        if data is None:
            return []
        try:
            errors = reduce(lambda found, key: found[key], path.split("."), data)
            ours = {int(row["n_interpolation"]): row for row in errors}
            lines = [
                "| interpolation points | slides: average | smallest to largest | "
                "kflow: average | smallest to largest |",
                "|---|---|---|---|---|",
            ]
            for size, *slides in self.rows():
                row = ours[int(size)]
                both = [[float(value) for value in slides], [row[k] for k in _KEYS]]
                cells = (f"{a:.2%} | {low:.2%} to {high:.2%}" for a, low, high in both)
                lines.append(f"| {size} | {' | '.join(cells)} |")
        except (LookupError, TypeError, ValueError) as error:
            raise self.error(f"{name} {path}: {type(error).__name__}: {error}") from None
        return self.markdown(lines)


_KEYS = ("average", "min", "max")


def duration(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives and the configuration."""
    app.add_config_value("reports_to_come", (), "env", (list, tuple))
    app.add_directive("reports", Reports)
    app.add_directive("slides", Slides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
