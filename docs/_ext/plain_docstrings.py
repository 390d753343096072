"""Docstrings as they are meant: |x| is a norm, rank_ an attribute, and D. P. Kingma a name.

reStructuredText takes bars for substitutions, final underscores for links, and an initial at the
beginning of a line for an entry of a list. Docstrings are read in terminals and editors too, so that
these are escaped here, outside literals and formulas, and not there.
"""

from __future__ import annotations

import re
from typing import Any

LITERAL = re.compile(r"(``.+?``|`[^`]*`)")
MARKUP = re.compile(r"\||(?<=\w)_(?!\w)")
FORMULA = re.compile(r"^(\s*)\.\. math::")
INITIAL = re.compile(r"^\s*(?=[A-Z]\. )")


def escaped(line: str) -> str:
    """Return a line with its markup escaped, but for what is in backticks."""
    parts = LITERAL.split(INITIAL.sub(r"\g<0>\\", line))
    parts[::2] = [MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def escape(*event: Any) -> None:
    """Escape the lines of a docstring, the last of what the event brings, but for examples and formulas."""
    lines: list[str] = event[-1]
    is_example = False
    formula: str | None = None  # the indentation of the formula at hand
    for number, line in enumerate(lines):
        is_example = line.lstrip().startswith(">>>") or (is_example and bool(line.strip()))
        if begun := FORMULA.match(line):
            formula = begun[1]
        elif formula is not None and line.strip() and not line.startswith(formula + " "):
            formula = None
        if not is_example and formula is None:
            lines[number] = escaped(line)


def setup(app: Any) -> dict[str, bool]:
    """Escape after numpydoc has divided docstrings into sections."""
    app.connect("autodoc-process-docstring", escape, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
