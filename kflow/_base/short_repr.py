"""Objects that show in a line, or as a small table in a notebook, what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from kflow._base.arguments import shown

__all__ = ["ShortRepr", "brief", "facts_html"]

# A sequence with more entries is told by their number.
_MAX_ENTRIES = 4
_MAX_CHARACTERS = 70

# No colours but those of the page, so that the table suits dark pages.
_BOX = "display:inline-block;border:1px solid;border-radius:6px;padding:.4em .9em;color:inherit"
_CELL = "text-align:left;vertical-align:top;padding:.1em .8em .1em 0;background:none;color:inherit"


class ShortRepr:
    """Base of objects with a short `repr`, and with the same facts as HTML for notebooks."""

    def facts(self) -> dict[str, Any]:
        """Return what is told of the object, by name: its public attributes, if not overridden."""
        return {
            name: value
            for name, value in vars(self).items()
            if not name.startswith("_") and not name.endswith("_")
        }

    def __repr__(self) -> str:
        """Return the name of the class, and what the object holds in short."""
        facts = ", ".join(f"{name}={brief(value)}" for name, value in self.facts().items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        """Return the facts as a table for notebooks."""
        return facts_html(type(self).__name__, self.facts())


def brief(value: Any) -> str:
    """Return a value in a few characters: four digits of a number, the shape of an array."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"<{value.dtype} array of shape {value.shape}>"
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        if len(value) <= _MAX_ENTRIES and all(np.ndim(entry) == 0 for entry in value.values()):
            return "{" + ", ".join(f"{shown(k)}: {brief(v)}" for k, v in value.items()) + "}"
        return f"<{', '.join(map(str, value))}>"
    if isinstance(value, (list, tuple)):
        if len(value) > _MAX_ENTRIES:
            return f"<{type(value).__name__} of {len(value)}>"
        inner = ", ".join(map(brief, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    text = shown(value)
    return text if len(text) <= _MAX_CHARACTERS else f"<{type(value).__name__}>"


def facts_html(title: str, facts: Mapping[str, Any]) -> str:
    """Return a title and facts as a small HTML table."""
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL}">{escape(name)}</th>'
        f'<td style="{_CELL}">{escape(value if isinstance(value, str) else brief(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f'<div style="{_BOX}"><b>{escape(title)}</b><table>{rows}</table></div>'
