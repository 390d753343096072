"""What a fit chose, and what else it tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kflow._base.arguments import as_count
from kflow.estimators.selection.candidates import Candidate
from kflow.kernels import Radial
from kflow.learning.gradient_metric import MapSettings

__all__ = ["Selection"]

_HEADER = ("", "map", "kernel", "length scale", "nugget", "layers", "error")


@dataclass(frozen=True)
class Selection:
    """What was chosen for the parameters of an estimator that are "auto", and what else was tried.

    Attributes
    ----------
    chosen : Candidate or None
        The candidate that was chosen; None if nothing was tried.
    tried : tuple of Candidate
        The best of each kind that was tried, in this order: each has its kernel, nugget, map, number
        of layers and mean squared error on the rows that were left out. Length scales are in units of
        the spread of the points.
    n_rows : int
        Number of rows that were divided into folds; 0 if nothing was tried.
    n_folds : int
        Number of folds.
    reason : str
        One sentence that says how the choice was made, or why nothing was tried.
    """

    chosen: Candidate | None
    tried: tuple[Candidate, ...]
    n_rows: int
    n_folds: int
    reason: str

    def __str__(self) -> str:
        """Return a table of what was tried, with a star at what was chosen."""
        if not self.tried:
            return self.reason
        rows = [_HEADER, *(self._row(candidate) for candidate in self.tried)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADER))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([self.reason, *lines])

    def _row(self, candidate: Candidate) -> Sequence[str]:
        kernel = candidate.kernel.kernel
        return (
            "*" if candidate == self.chosen else "",
            map_name(candidate.map),
            type(kernel).__name__,
            length_text(kernel) if candidate.kernel.relative else "given",
            f"{candidate.nugget:.2g}",
            str(candidate.n_layers),
            "-" if candidate.error is None else f"{candidate.error:.4g}",
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for notebooks."""
        from html import escape

        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in self._row(candidate)) + "</tr>"
            for candidate in self.tried
        )
        header = "".join(f"<th>{name}</th>" for name in _HEADER)
        table = f"<table><tr>{header}</tr>{rows}</table>" if self.tried else ""
        return f"<p>{escape(self.reason)}</p>{table}"

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as JSON data; `from_dict` is the inverse."""
        return {
            "chosen": None if self.chosen is None else self.tried.index(self.chosen),
            "tried": [candidate.to_dict() for candidate in self.tried],
            "n_rows": self.n_rows,
            "n_folds": self.n_folds,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Selection:
        """Return the selection that `to_dict` described.

        Raises
        ------
        IndexError, KeyError, TypeError, ValueError
            If the data describe none.
        """
        tried = tuple(Candidate.from_dict(candidate) for candidate in data["tried"])
        chosen = data["chosen"]
        return cls(
            None if chosen is None else tried[as_count(chosen, "chosen", 0)],
            tried,
            as_count(data["n_rows"], "n_rows", 0),
            as_count(data["n_folds"], "n_folds", 0),
            str(data["reason"]),
        )


def map_name(settings: MapSettings | None) -> str:
    """Return a few words for a linear map."""
    if settings is None:
        return "none"
    kind = "diagonal" if settings.diagonal else "full"
    steps = "" if settings.n_steps == 1 else f", {settings.n_steps} steps"
    return f"{kind}, power {settings.power:g}{steps}"


def length_text(kernel: Radial) -> str:
    """Return a kernel's length scale with three digits."""
    length = kernel.length_scale
    return f"{length:.3g}" if isinstance(length, float) else "several"
