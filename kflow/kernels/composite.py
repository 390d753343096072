"""Kernels made of kernels: sums, products, and amplitudes. All keep positive definiteness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.kernels.base import DEFAULT_BOUNDS, Bounds, Kernel, check_kernel, show
from kflow.kernels.dot_and_periodic import Constant

if TYPE_CHECKING:
    from kflow.kernels.program import Contraction, Program, Term

__all__ = ["Product", "Scaled", "Sum"]


@dataclass(frozen=True, repr=False)
class _Composite(Kernel):
    kernels: tuple[Kernel, ...] = ()

    def __post_init__(self) -> None:
        """Check the parts."""
        super().__post_init__()
        parts = tuple(check_kernel(kernel) for kernel in self.kernels)
        if len(parts) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two kernels, got {len(parts)}")
        object.__setattr__(self, "kernels", parts)

    def _children(self) -> tuple[Kernel, ...]:
        return self.kernels

    def _with_children(self, children: tuple[Kernel, ...]) -> Any:
        return type(self)(children)

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        del contraction, term
        return []

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is its inverse."""
        return {"kernel": self._family, "kernels": [part.to_dict() for part in self.kernels]}

    @classmethod
    def _from_dict(cls, parameters: Mapping[str, Any]) -> Kernel:
        from kflow.kernels import from_dict

        rest = dict(parameters)
        return cls(tuple(from_dict(part) for part in rest.pop("kernels")), **rest)


class Sum(_Composite):
    """k_1 + k_2 + ...: what `+` makes.

    Parameters
    ----------
    kernels : sequence of Kernel
        The parts, two at least.
    """

    _family = "sum"

    def __repr__(self) -> str:
        """Return the parts with + between them."""
        return " + ".join(map(repr, self.kernels))

    def _emit(self, program: Program) -> int:
        return reduce(program.add, [program.emit(kernel) for kernel in self.kernels])

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.asarray(sum(kernel._diagonal(X) for kernel in self.kernels))


class Product(_Composite):
    """k_1 k_2 ...: what `*` makes.

    Parameters
    ----------
    kernels : sequence of Kernel
        The parts, two at least.
    """

    _family = "product"

    def __repr__(self) -> str:
        """Return the parts with * between them."""
        return " * ".join(f"({k!r})" if isinstance(k, Sum) else repr(k) for k in self.kernels)

    def _emit(self, program: Program) -> int:
        return reduce(program.multiply, [program.emit(kernel) for kernel in self.kernels])

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.asarray(np.prod([kernel._diagonal(X) for kernel in self.kernels], axis=0))


@dataclass(frozen=True, repr=False)
class Scaled(Kernel):
    """a k: what a number times a kernel makes.

    Parameters
    ----------
    kernel : Kernel
        k.
    amplitude : float
        a, positive: the variance of a process whose covariance this is.
    amplitude_bounds : tuple of float, or "fixed"
        Its bounds.
    """

    kernel: Kernel
    amplitude: float = 1.0
    amplitude_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _family: ClassVar[str] = "scaled"
    _parameters: ClassVar[tuple[str, ...]] = ("amplitude",)

    def __post_init__(self) -> None:
        """Check the parts."""
        super().__post_init__()
        check_kernel(self.kernel)

    def __repr__(self) -> str:
        """Return the product."""
        if self.amplitude_bounds != DEFAULT_BOUNDS:
            return super().__repr__()
        inner = f"({self.kernel!r})" if isinstance(self.kernel, Sum) else repr(self.kernel)
        return f"{show(self.amplitude)} * {inner}"

    def _children(self) -> tuple[Kernel, ...]:
        return (self.kernel,)

    def _with_children(self, children: tuple[Kernel, ...]) -> Any:
        return replace(self, kernel=children[0])

    def _parts(self) -> list[tuple[str, Kernel]]:
        return [("kernel", self.kernel)]

    def _emit(self, program: Program) -> int:
        return program.scale(program.emit(self.kernel), self.amplitude)

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        return [] if self.amplitude_bounds == "fixed" else [contraction.factor[term.number]]

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return self.amplitude * self.kernel._diagonal(X)

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is its inverse."""
        return {**super().to_dict(), "kernel": self._family, "of": self.kernel.to_dict()}

    @classmethod
    def _from_dict(cls, parameters: Mapping[str, Any]) -> Kernel:
        from kflow.kernels import from_dict

        rest = dict(parameters)
        return cls(from_dict(rest.pop("of")), **rest)


def _is_number(value: Any) -> bool:
    return np.ndim(value) == 0 and not isinstance(value, (Kernel, str, bool, np.bool_, type(None)))


def add(left: Any, right: Any) -> Any:
    """Return left + right, one of them a kernel and the other a kernel or a number."""
    terms: list[Kernel] = []
    for operand in (left, right):
        if _is_number(operand):
            terms.append(Constant(operand))
        elif isinstance(operand, Kernel):
            terms += operand.kernels if isinstance(operand, Sum) else [operand]
        else:
            return NotImplemented
    return Sum(tuple(terms))


def multiply(left: Any, right: Any) -> Any:
    """Return left * right, one of them a kernel and the other a kernel or a number."""
    if _is_number(left):
        left, right = right, left
    if not isinstance(left, Kernel):
        return NotImplemented
    if _is_number(right):
        return Scaled(left, right)
    if not isinstance(right, Kernel):
        return NotImplemented
    factors: list[Kernel] = []
    for operand in (left, right):
        factors += operand.kernels if isinstance(operand, Product) else [operand]
    return Product(tuple(factors))


COMPOSITE: dict[str, type[Kernel]] = {kernel._family: kernel for kernel in (Sum, Product, Scaled)}
