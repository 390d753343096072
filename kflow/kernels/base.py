"""What every kernel can do, and the kernels that its operators make.

Sums, products, positive multiples and constants keep positive definiteness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import common_dtype
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix, check_out
from kflow.engine import HOST
from kflow.engine.interface import Engine
from kflow.engine.threads import resolve_n_threads
from kflow.kernels.parameters import DEFAULT_BOUNDS, Bounds, Parametric, show
from kflow.kernels.program import Contraction, Program, Term, apply, contract, evaluate

__all__ = ["Constant", "Kernel", "Product", "Scaled", "Sum", "check_kernel"]


@dataclass(frozen=True, repr=False)
class Kernel(Parametric):
    """Base of the kernels: immutable values, which sums and products put together.

    A kernel is called with points, ``kernel(X, Z)``; ``kernel + other``, ``kernel * other`` and
    ``2.0 * kernel`` are kernels again. Each positive parameter `p` has a twin `p_bounds`: its lower
    and upper bound, a pair of them for each dimension, or ``"fixed"``. The default bounds are 1e-5 and
    1e5, times the value if the value is outside. The parameters that are not fixed make up `theta`, a flat vector of their logarithms,
    in which kernels are learned.
    """

    # NumPy must leave its numbers times a kernel to the kernel.
    __array_ufunc__ = None

    # ---- algebra ------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        """Return the sum with another kernel, or with a positive constant."""
        return _add(self, other)

    def __radd__(self, other: Any) -> Any:
        """Return the sum with a positive constant."""
        return _add(other, self)

    def __mul__(self, other: Any) -> Any:
        """Return the product with another kernel, or with a positive amplitude."""
        return _multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        """Return the kernel times a positive amplitude."""
        return _multiply(other, self)

    # ---- what kernels define ------------------------------------------------------------------

    def emit(self, program: Program) -> int:
        """Append this kernel's terms to a program and return the number of its own."""
        raise NotImplementedError

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the loss's derivatives with respect to the own entries of theta."""
        raise NotImplementedError

    def _diagonal(self, X: FloatArray) -> FloatArray:
        """Return k(x, x) for each row of X."""
        raise NotImplementedError

    def evaluate(
        self,
        X: FloatArray,
        Z: FloatArray,
        out: FloatArray,
        n_threads: int,
        engine: Engine = HOST,
    ) -> None:
        """Write K(X, Z) to `out`, (n, m), by an engine.

        X, (n, d), Z, (m, d), and `out` are C-contiguous and of one dtype, which is not checked. Z may
        be X; `out` overlaps neither.
        """
        evaluate(self, X, Z, out, n_threads, engine)

    # ---- evaluation ---------------------------------------------------------------------------

    def __call__(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        out: FloatArray | None = None,
        n_threads: int | None = None,
    ) -> FloatArray:
        """Return the kernel matrix K(X, Z), as `kflow.gram` does.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points. float32 and float64 are used as they are; anything else becomes float64.
        Z : array_like, shape (m, d), optional
            Other points; X itself if not given.
        out : ndarray, shape (n, m), optional
            C-contiguous array of the result's dtype that receives the result.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`. The result does not depend on it.

        Returns
        -------
        ndarray, shape (n, m)
            float32 if X and Z both are, else float64.

        Raises
        ------
        TypeError, ValueError
            For arguments of the wrong kind, shape or dtype, naming them.

        Notes
        -----
        2 n m d flops and n m evaluations of each part of the kernel.
        """
        threads = resolve_n_threads(n_threads)
        dtype = common_dtype(X, Z)
        x = as_matrix(X, "X", dtype=dtype, n_threads=threads, are_points=True)
        z = (
            x
            if Z is None
            else as_matrix(Z, "Z", dtype=dtype, n_columns=x.shape[1], are_points=True)
        )
        shape = (x.shape[0], z.shape[0])
        result = np.empty(shape, dtype) if out is None else check_out(out, shape, dtype)
        if np.may_share_memory(result, x) or np.may_share_memory(result, z):
            raise ValueError("out must not overlap X or Z: pass a separate array")
        self.evaluate(x, z, result, threads)
        return result

    def diag(self, X: npt.ArrayLike) -> FloatArray:
        """Return k(x, x) for each row of X.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points, one in each row.

        Returns
        -------
        ndarray, shape (n,)
            float32 if X is, else float64.
        """
        x = as_matrix(X, "X", dtype=common_dtype(X))
        self.check_dimension(x.shape[1])
        return np.asarray(self._diagonal(x), x.dtype)

    def apply(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike,
        C: npt.ArrayLike,
        *,
        n_threads: int | None = None,
    ) -> FloatArray:
        """Return K(X, Z) C, in tiles: the kernel matrix never exists as a whole.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points, one in each row.
        Z : array_like, shape (m, d)
            The centres, one in each row.
        C : array_like, shape (m, q)
            The coefficients of the centres, one row for each.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`. The result does not depend on it.

        Returns
        -------
        ndarray, shape (n, q)
            float32 if all arguments are, else float64.

        Notes
        -----
        2 n m (d + q) flops and n m evaluations of each part of the kernel. A user's function is called
        for some rows of X at a time.
        """
        threads = resolve_n_threads(n_threads)
        dtype = common_dtype(X, Z, C)
        x = as_matrix(X, "X", dtype=dtype, n_threads=threads, are_points=True)
        z = as_matrix(Z, "Z", dtype=dtype, n_columns=x.shape[1], n_threads=threads, are_points=True)
        c = as_matrix(C, "C", dtype=dtype, n_rows=len(z), n_threads=threads)
        out = np.empty((len(x), c.shape[1]), dtype)
        apply(self, x, z, c, out, threads)
        return out

    def interpolate(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        *,
        n_threads: int | None = None,
        engine: Engine = HOST,
    ) -> FloatArray:
        """Return K(X, Z) C, as `kflow.Interpolant` predicts.

        It is `apply`, but kernels for which an engine has a faster way take that, which may round
        otherwise.

        Parameters
        ----------
        X, Z, C : ndarray, shape (n, d), (m, d) and (m, q)
            Points, centres and coefficients, C-contiguous and of one dtype, which is not checked.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`. The result does not depend on it.
        engine : Engine
            The engine that computes.

        Returns
        -------
        ndarray, shape (n, q)
            In the dtype of the arguments.

        Notes
        -----
        The costs are those of `apply`.
        """
        out = np.empty((len(X), C.shape[1]), X.dtype)
        apply(self, X, Z, C, out, resolve_n_threads(n_threads), engine)
        return out

    def contract(
        self,
        X: npt.ArrayLike,
        G: npt.ArrayLike,
        *,
        points: bool = False,
        n_threads: int | None = None,
    ) -> tuple[npt.NDArray[np.float64], FloatArray | None]:
        """Carry a loss's derivatives from the kernel matrix to the parameters, and to the points.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points, computed with in float64.
        G : array_like, shape (n, n)
            dLoss / dK at K = K(X, X). K is symmetric, so that only G + G' counts.
        points : bool
            Whether to compute the derivatives with respect to the points too.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`. The result does not depend on it.

        Returns
        -------
        theta_gradient : ndarray, shape (p,), float64
            dLoss / dtheta = sum_ij G_ij dK_ij / dtheta.
        X_gradient : ndarray, shape (n, d), float64, or None
            dLoss / dX, or None without `points`.

        Notes
        -----
        No matrix per parameter is formed: K is evaluated once more, tile by tile, with its slopes.
        n^2 evaluations of each part of the kernel, and 2 n^2 d flops for the points and for each
        part with a length scale per dimension.
        """
        g = as_matrix(G, "G", dtype=np.float64)
        if g.shape[0] == g.shape[1] and not np.array_equal(g, g.T):
            g = 0.5 * (g + g.T)
        threads = resolve_n_threads(n_threads)
        x = as_matrix(X, "X", dtype=np.float64, allow_no_rows=False, are_points=True)
        g = as_matrix(g, "G", dtype=np.float64, n_rows=len(x), n_columns=len(x))
        return contract(self, x, g, points, threads)


def check_kernel(kernel: Any) -> Kernel:
    """Return `kernel` if it is a kernel.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel must be one of kflow.kernels, such as Gaussian(), got {kernel!r}")
    return kernel


# ---- what the operators make --------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Constant(Kernel):
    """k(x, z) = c, positive semi-definite of rank 1: what `kernel + 2.0` adds.

    Parameters
    ----------
    value : float
        The constant c, which is positive.
    value_bounds : tuple of float, or "fixed"
        The smallest and the largest value that learning may give it.
    """

    value: float = 1.0
    value_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    family: ClassVar[str] = "constant"
    _parameters: ClassVar[tuple[str, ...]] = ("value",)

    def emit(self, program: Program) -> int:
        """Append the constant."""
        return program.scale(program.add_constant(), self.value)

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivative with respect to the value's logarithm."""
        return [] if self.value_bounds == "fixed" else [contraction.factor[term.number]]

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.full(len(X), self.value, X.dtype)


@dataclass(frozen=True, repr=False)
class _Composite(Kernel):
    """Base of sums and products."""

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

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return nothing: the parameters are those of the parts."""
        del contraction, term
        return []

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is the inverse."""
        return {"kernel": self.family, "kernels": [part.to_dict() for part in self.kernels]}

    @classmethod
    def from_plain(cls, parameters: Mapping[str, Any], make_part: Callable[[Any], Any]) -> Kernel:
        """Return the sum or product of the parts that are described."""
        rest = dict(parameters)
        return cls(tuple(make_part(part) for part in rest.pop("kernels")), **rest)


class Sum(_Composite):
    """k_1 + k_2 + ...: what `+` makes.

    Parameters
    ----------
    kernels : sequence of Kernel
        The parts, two at least.
    """

    family = "sum"

    def __repr__(self) -> str:
        """Return the parts with + between them."""
        return " + ".join(map(repr, self.kernels))

    def emit(self, program: Program) -> int:
        """Append the parts and their sum."""
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

    family = "product"

    def __repr__(self) -> str:
        """Return the parts with * between them."""
        return " * ".join(f"({k!r})" if isinstance(k, Sum) else repr(k) for k in self.kernels)

    def emit(self, program: Program) -> int:
        """Append the parts and their product."""
        return reduce(program.multiply, [program.emit(kernel) for kernel in self.kernels])

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.asarray(np.prod([kernel._diagonal(X) for kernel in self.kernels], axis=0))


@dataclass(frozen=True, repr=False)
class Scaled(Kernel):
    """a k: what a number times a kernel makes.

    Parameters
    ----------
    kernel : Kernel
        The kernel k.
    amplitude : float
        The factor a, which is positive: the variance of a process whose covariance this is.
    amplitude_bounds : tuple of float, or "fixed"
        The smallest and the largest value that learning may give it.
    """

    kernel: Kernel
    amplitude: float = 1.0
    amplitude_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    family: ClassVar[str] = "scaled"
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

    def emit(self, program: Program) -> int:
        """Append the kernel, and multiply it."""
        return program.scale(program.emit(self.kernel), self.amplitude)

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivative with respect to the amplitude's logarithm."""
        return [] if self.amplitude_bounds == "fixed" else [contraction.factor[term.number]]

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return self.amplitude * self.kernel._diagonal(X)

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is the inverse."""
        return {**super().to_dict(), "kernel": self.family, "of": self.kernel.to_dict()}

    @classmethod
    def from_plain(cls, parameters: Mapping[str, Any], make_part: Callable[[Any], Any]) -> Kernel:
        """Return the multiple of the kernel that is described."""
        rest = dict(parameters)
        return cls(make_part(rest.pop("of")), **rest)


def _is_number(value: Any) -> bool:
    return np.ndim(value) == 0 and not isinstance(value, (Kernel, str, bool, np.bool_, type(None)))


def _add(left: Any, right: Any) -> Any:
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


def _multiply(left: Any, right: Any) -> Any:
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
