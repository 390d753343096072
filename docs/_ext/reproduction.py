"""The reports of the demos, as `kflow demo NAME --output docs/reproduction/NAME` wrote them.

    ```{reports} paper
    ```

lists those of a topic and takes them into the table of contents;

    ```{published} mnist
    ```

puts the errors in one of them next to those of the slides, and

    ```{geometry} digits mnist
    ```

what `kflow.analysis` measured in some of them, before the flow and after it;

    ```{fooling} digits mnist
    ```

how little fools them. A demo without its report is an error, unless
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
from kflow.demos.image_flow import FEATURES
from kflow.demos.published import PUBLISHED


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

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table and the table of contents."""
        table = ["| report | what it shows | time | command |", "|---|---|---|---|"]
        pages = []
        of_topic = {n: demo for n, demo in DEMOS.items() if demo.topic == self.arguments[0]}
        for name, demo in of_topic.items():
            data = self.results(name)
            if data is not None:
                pages.append(f"/reproduction/{name}/report")  # from the folder of all pages
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
        columns = {f"slides, {when}": errors for when, errors in PUBLISHED.get(name, {}).items()}
        for features, numbers in by_features(data["numbers"]).items():
            first, last = numbers["window"]
            columns[f"{features}, n = {first} to {last}"] = {
                row["n_interpolation"]: (row["average"], row["min"], row["max"])
                for row in numbers["errors"]
            }
        table = [
            f"| interpolation points | {' | '.join(columns)} |",
            "|---" * (1 + len(columns)) + "|",
        ]
        for size in list(columns.values())[-1]:
            cells = (errors_in_words(*errors[size][:3]) for errors in columns.values())
            table.append(f"| {size} | {' | '.join(cells)} |")
        return self.markdown(table)


# What a report's numbers say of geometry: where they are, and the lines of a table.
MEASURES = {
    "dimension": {
        "participation": "participation ratio of the variances",
        "participation_within_classes": "the same, mean over classes",
        "explained": "directions for 99 % of the variance",
        "neighbours": "dimension from nearest neighbours",
    },
    "margins": {
        "interpolant_median": "margin of the interpolant, median",
        "hypothesis_median": "hypothesis margin / rms distance, median",
    },
    "lipschitz": {
        "local_median": "local Lipschitz constant, median",
        "local_max": "local Lipschitz constant, largest",
        "within_median": "growth of the distance to the nearest image of the class, median",
        "between_median": "growth of the distance to the nearest image of another, median",
        "log10_bound": "log10 of a proven bound on the Lipschitz constant, which is far too large to say anything",
    },
}


class Geometry(_OfReports):
    """The directive ``geometry``."""

    required_arguments = 1
    optional_arguments = 8

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        found = {name: self.results(name) for name in self.arguments}
        columns: dict[str, dict[str, Any]] = {}
        for name, data in found.items():
            for features, numbers in by_features(data["numbers"] if data else {}).items():
                columns[f"{name}, {features}"] = numbers["geometry"]
        if not columns:
            return []
        table = [
            f"| measure, before and after | {' | '.join(columns)} |",
            "|---" * (1 + len(columns)) + "|",
        ]
        for group, measures in MEASURES.items():
            for measure, text in measures.items():
                cells = (
                    before_and_after(geometry[group][measure]) if group in geometry else "-"
                    for geometry in columns.values()
                )
                table.append(f"| {text} | {' | '.join(cells)} |")
        return self.markdown(table)


class Fooling(_OfReports):
    """The directive ``fooling``."""

    required_arguments = 1
    optional_arguments = 8

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        found = {name: self.results(name) for name in self.arguments}
        numbers = {name: data["numbers"] for name, data in found.items() if data}
        reports = {name: of["fooling"] for name, of in numbers.items() if "fooling" in of}
        if not reports:
            return []
        table = [
            f"| median adversarial distance / norm, before and after | {' | '.join(reports)} |",
            "|---" * (1 + len(reports)) + "|",
        ]
        for features in FEATURES:
            parts = [of[features] for of in reports.values()]
            medians = (
                before_and_after([part[when]["relative_median"] for when in ("before", "after")])
                for part in parts
            )
            table.append(f"| {features} | {' | '.join(medians)} |")
            ratios = (f"{part['ratio_median']:.2f}" for part in parts)
            table.append(f"| {features}, after / before, median of ratios | {' | '.join(ratios)} |")
        between = (f"{of['scattering_over_pixels']:.2f}" for of in reports.values())
        table.append(f"| after the flow, scattering / pixels | {' | '.join(between)} |")
        return self.markdown(table)


def by_features(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of a report by what images are to its flows.

    Reports of before scattering have those of pixels, and no names of features.
    """
    if "errors" in numbers:
        return {"pixels": numbers}
    return {features: numbers[features] for features in FEATURES if features in numbers}


def before_and_after(values: list[float | None]) -> str:
    """Return the first and the last of some numbers."""
    first, last = ("-" if value is None else f"{value:.3g}" for value in (values[0], values[-1]))
    return f"{first}\u00a0\u2192\u00a0{last}"


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
    app.add_directive("geometry", Geometry)
    app.add_directive("fooling", Fooling)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
