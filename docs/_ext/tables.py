"""Summaries of what stands in a table of the package, so that pages need no list of their own.

    .. autosummary-table:: kflow.losses.LOSSES
       :toctree: generated

is an ``autosummary`` of the table's entries: of their ``__name__``, or of their keys if they have none.
"""

from __future__ import annotations

import re
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.autosummary import Autosummary
from sphinx.ext.autosummary.generate import generate_autosummary_docs

USE = re.compile(r"^\.\. autosummary-table:: (\S+)$", re.MULTILINE)


def entries(table: str) -> list[str]:
    """Return the names of the entries of a table such as ``kflow.losses.LOSSES``."""
    module, _, name = table.rpartition(".")
    rows = getattr(import_module(module), name)
    return [getattr(row, "__name__", key) for key, row in rows.items()]


class AutosummaryTable(Autosummary):
    """An ``autosummary`` of the entries of a table."""

    required_arguments: ClassVar[int] = 1
    has_content: ClassVar[bool] = False

    def run(self) -> list[Any]:
        """Return the summary."""
        self.content = StringList(entries(self.arguments[0]), source=self.arguments[0])
        return super().run()


def generate_pages(app: Sphinx) -> None:
    """Write the pages of the entries, which autosummary writes for lists in the sources only."""
    for page in Path(app.srcdir).rglob("*.md"):
        for table in USE.findall(page.read_text("utf-8")):
            module = table.rpartition(".")[0]
            lines = [f".. currentmodule:: {module}", "", ".. autosummary::"]
            lines += [f"   :toctree: {page.parent / 'generated'}", ""]
            lines += [f"   {name}" for name in entries(table)]
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "table.rst")
                source.write_text("\n".join(lines) + "\n", "utf-8")
                generate_autosummary_docs([str(source)], app=app)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.setup_extension("sphinx.ext.autosummary")
    app.add_directive("autosummary-table", AutosummaryTable)
    app.connect("builder-inited", generate_pages)
    return {"parallel_read_safe": True}
