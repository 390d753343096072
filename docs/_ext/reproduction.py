"""The reports of the demos, as `kflow demo NAME --output docs/reproduction/NAME` wrote them.

    ```{reports}
    ```

lists them and takes them into the table of contents;

    ```{published} mnist
    ```

puts the errors in one of them next to those of the slides. A demo without its report is an error, unless
the configuration's `reports_to_come` names it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kflow.demos import DEMOS
from kflow.demos.images import PUBLISHED


class _OfReports(SphinxDirective):
    """What both directives do."""

    def results(self, name: str) -> dict[str, Any] | None:
        """Return what a demo found; None if that is to come."""
        file = Path(self.env.srcdir, "reproduction", name, "results.json")
        to_come = name in self.config.reports_to_come
        if to_come == file.is_file():
            remedy = "take it from reports_to_come" if to_come else "run the demo with --output"
            raise self.error(f"{file} is {'' if to_come else 'not '}here: {remedy}")
        if to_come:
            return None
        self.env.note_dependency(str(file))
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return data

    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        """Return what lines of Markdown say."""
        return self.parse_text_to_nodes("\n".join(lines))


class Reports(_OfReports):
    """The directive ``reports``."""

    def run(self) -> list[nodes.Node]:
        """Return a table and the table of contents."""
        table = ["| report | what it shows | time | command |", "|---|---|---|---|"]
        pages = []
        for name, demo in DEMOS.items():
            data = self.results(name)
            if data is not None:
                pages.append(f"reproduction/{name}/report")
                cells = (
                    f"[{data['title']}]({pages[-1]}.md)",
                    demo.summary,
                    duration(data["seconds"]),
                    f"`{data['command']}`",
                )
                table.append(f"| {' | '.join(cells)} |")
        if not pages:
            return []
        contents = ["```{toctree}", ":hidden:", "", *pages, "```"]
        return [*self.markdown(table), *self.markdown(contents)]


class Published(_OfReports):
    """The directive ``published``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        name = self.arguments[0]
        data = self.results(name)
        if data is None:
            return []
        numbers = data["numbers"]
        ours = {
            row["n_interpolation"]: (row["average"], row["min"], row["max"])
            for row in numbers["errors"]
        }
        first, last = numbers["window"]
        columns = {f"slides, {when}": errors for when, errors in PUBLISHED[name].items()}
        columns[f"kflow, n = {first} to {last}"] = ours
        table = [
            f"| interpolation points | {' | '.join(columns)} |",
            "|---" * (1 + len(columns)) + "|",
        ]
        for size in ours:
            cells = (errors_in_words(*errors[size][:3]) for errors in columns.values())
            table.append(f"| {size} | {' | '.join(cells)} |")
        return self.markdown(table)


def errors_in_words(average: float, least: float, largest: float) -> str:
    """Return an average, and between what it lies."""
    return f"{100 * average:.2f} % ({100 * least:.2f} to {100 * largest:.2f})"


def duration(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives and the configuration."""
    app.add_config_value("reports_to_come", (), "env", (list, tuple))
    app.add_directive("reports", Reports)
    app.add_directive("published", Published)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
