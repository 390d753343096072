"""A kernel that reads some columns of the points only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from kflow._base.arguments import as_count, shown
from kflow._base.array_types import FloatArray
from kflow.kernels.base import Kernel, check_kernel
from kflow.kernels.program import Contraction, Program, Term

__all__ = ["OnColumns"]


@dataclass(frozen=True, repr=False)
class OnColumns(Kernel):
    r""":math:`k(x_S, z_S)`: a kernel of some columns S of the points.

    It is positive semi-definite wherever k is positive definite, because points that differ in other
    columns coincide for it. ``OnColumns(Gaussian(), [0]) + OnColumns(Periodic(7.0), [1])`` is an additive
    kernel, and a product of such kernels has a family for each group of columns.

    Parameters
    ----------
    kernel : Kernel
        The kernel k, whose points have the chosen columns in the order in which they are given. With a
        length scale for each column it has as many as there are chosen columns.
    columns : sequence of int
        The numbers of the columns, counted from 0, each once.

    Raises
    ------
    TypeError, ValueError
        If there is no column, or one is negative, no integer, or given twice; when used, if the points
        have fewer columns.

    Notes
    -----
    Of n points, n times the number of the columns are copied before k is evaluated.

    Examples
    --------
    >>> from kflow.kernels import Gaussian, OnColumns
    >>> kernel = OnColumns(Gaussian(2.0), [1])
    >>> kernel([[0.0, 1.0], [5.0, 1.0]])
    array([[1., 1.],
           [1., 1.]])
    """

    kernel: Kernel
    columns: tuple[int, ...]

    family: ClassVar[str] = "on_columns"

    def __post_init__(self) -> None:
        """Check the kernel and the columns."""
        super().__post_init__()
        check_kernel(self.kernel)
        object.__setattr__(self, "columns", _as_columns(self.columns))

    def _children(self) -> tuple[Kernel, ...]:
        return (self.kernel,)

    def _with_children(self, children: tuple[Kernel, ...]) -> Any:
        return replace(self, kernel=children[0])

    def _parts(self) -> list[tuple[str, Kernel]]:
        return [("kernel", self.kernel)]

    def check_dimension(self, d: int) -> None:
        """Raise ValueError if points in d dimensions lack one of the columns, or k cannot take these."""
        if max(self.columns) >= d:
            raise ValueError(
                f"OnColumns reads column {max(self.columns)}, but X has {d} columns, "
                f"which are counted from 0: pass columns below {d}"
            )
        self.kernel.check_dimension(len(self.columns))

    def emit(self, program: Program) -> int:
        """Append the kernel, which reads the columns."""
        with program.reading(self.columns):
            return program.emit(self.kernel)

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return nothing: the parameters are those of the kernel."""
        del contraction, term
        return []

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return self.kernel._diagonal(np.ascontiguousarray(X[:, self.columns]))

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is the inverse."""
        described = self.kernel.to_dict()
        return {"kernel": self.family, "of": described, "columns": list(self.columns)}

    @classmethod
    def from_plain(cls, parameters: Mapping[str, Any], make_part: Callable[[Any], Any]) -> Kernel:
        """Return the kernel of the columns that are described."""
        rest = dict(parameters)
        return cls(make_part(rest.pop("of")), **rest)


def _as_columns(columns: Any) -> tuple[int, ...]:
    """Return the numbers of columns as a tuple."""
    if isinstance(columns, (str, bytes)) or not isinstance(columns, Iterable):
        raise TypeError(
            f"columns must be a sequence of column numbers, such as [0, 2], got {shown(columns)}"
        )
    numbers = tuple(as_count(column, f"columns[{i}]", 0) for i, column in enumerate(columns))
    if not numbers:
        raise ValueError("columns must name at least one column, got none")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"columns must name each column once, got {shown(list(numbers))}")
    return numbers
