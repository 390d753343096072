"""What all kernels share: parameters as one vector of logarithms, algebra, evaluation, contractions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_positive, common_dtype
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix

if TYPE_CHECKING:
    from kflow.kernels.program import Contraction, Program, Term

__all__ = ["DEFAULT_BOUNDS", "Bounds", "Kernel", "Value", "as_tuple", "check_kernel", "show"]

Bounds: TypeAlias = tuple[float, float] | Literal["fixed"]
Value: TypeAlias = float | tuple[float, ...]
Self = TypeVar("Self", bound="Kernel")

DEFAULT_BOUNDS = (1e-5, 1e5)

# Relative: what a logarithm and an exponential may do to a bound.
_ROUNDING = 1e-12


def _one_value(value: Any, name: str) -> float:
    number = as_values(value, name)
    if isinstance(number, tuple):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return number


def as_values(value: Any, name: str) -> Value:
    """Return a positive number, or a tuple of them."""
    if isinstance(value, (str, bytes)) or np.ndim(value) == 0:
        number = as_positive(value, name)
        # Squares of what is smaller or larger leave the numbers.
        if not 1e-150 < number < 1e150:
            raise ValueError(f"{name} must be between 1e-150 and 1e150, got {value!r}")
        return number
    if np.ndim(value) != 1 or len(value) == 0:
        raise ValueError(f"{name} must be a number or one number per dimension, got {value!r}")
    return tuple(_one_value(number, f"{name}[{i}]") for i, number in enumerate(value))


def _as_bounds(value: Any, name: str) -> Bounds:
    if isinstance(value, str):
        if value == "fixed":
            return "fixed"
        raise ValueError(f"{name} must be (lower, upper) or 'fixed', got {value!r}")
    try:
        lower, upper = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be (lower, upper) or 'fixed', got {value!r}") from None
    lower, upper = as_positive(lower, f"{name}[0]"), as_positive(upper, f"{name}[1]")
    if lower > upper:
        raise ValueError(f"{name} must be (lower, upper), got {value!r}: swap them")
    return lower, upper


def as_tuple(value: Value) -> tuple[float, ...]:
    """Return one number, or one for each dimension, as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def show(value: Any) -> str:
    """Return a parameter with the digits that a reader needs."""
    if isinstance(value, tuple):
        return "[" + ", ".join(show(number) for number in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


@dataclass(frozen=True, repr=False)
class Kernel:
    """Base of the kernels: immutable values, which sums and products put together.

    A kernel is called with points, ``kernel(X, Z)``; ``kernel + other``, ``kernel * other`` and
    ``2.0 * kernel`` are kernels again. Each positive parameter `p` has a twin `p_bounds`: its lower
    and upper bound, or ``"fixed"``. Unless given they are 1e-5 and 1e5, times the value if it is outside. The parameters that are not fixed
    make up `theta`, a flat vector of their logarithms, in which kernels are learnt.
    """

    # NumPy must leave its numbers times a kernel to the kernel.
    __array_ufunc__ = None

    _family: ClassVar[str] = ""
    # The parameters that can be learnt, in the order of theta.
    _parameters: ClassVar[tuple[str, ...]] = ()
    # Those that may be one number for each dimension.
    _per_dimension: ClassVar[tuple[str, ...]] = ("length_scale", "period")

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not self._family:
            raise TypeError(f"{type(self).__name__} is abstract: use kflow.kernels.Gaussian, say")
        for name in self._parameters:
            self._check_parameter(name)

    def _check_parameter(self, name: str) -> None:
        check = as_values if name in self._per_dimension else _one_value
        value = check(getattr(self, name), name)
        bounds = _as_bounds(getattr(self, f"{name}_bounds"), f"{name}_bounds")
        object.__setattr__(self, name, value)
        object.__setattr__(self, f"{name}_bounds", bounds)
        if not isinstance(bounds, str) and bounds != DEFAULT_BOUNDS:
            for number in as_tuple(value):
                # One rounding of exp(log(bound)) is not outside.
                if not bounds[0] * (1 - _ROUNDING) <= number <= bounds[1] * (1 + _ROUNDING):
                    raise ValueError(
                        f"{name}={number:g} is outside {name}_bounds={bounds}: pass other bounds, "
                        "or 'fixed' for a parameter that is not to be learnt"
                    )

    # ---- parameters ---------------------------------------------------------------------------

    def _children(self) -> tuple[Kernel, ...]:
        return ()

    def _with_children(self: Self, children: tuple[Kernel, ...]) -> Self:
        assert not children
        return self

    def _free(self) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
        """Yield the free parameters of this node, as vectors."""
        for name in self._parameters:
            if getattr(self, f"{name}_bounds") != "fixed":
                yield name, np.array(as_tuple(getattr(self, name)))

    def _own_theta(self) -> npt.NDArray[np.float64]:
        return np.concatenate([[], *(np.log(value) for _, value in self._free())])

    def _own_bounds(self) -> npt.NDArray[np.float64]:
        rows = [np.empty((0, 2))]
        for name, value in self._free():
            rows.append(np.tile(np.log(self._box(name)), (len(value), 1)))
        return np.concatenate(rows)

    def _box(self, name: str) -> tuple[float, float]:
        """Return the bounds of a free parameter.

        The default ones are meant for nobody in particular: they yield to a value outside.
        """
        lower, upper = getattr(self, f"{name}_bounds")
        values = as_tuple(getattr(self, name))
        if (lower, upper) == DEFAULT_BOUNDS and not lower <= min(values) <= max(values) <= upper:
            lower, upper = min(lower, lower * min(values)), max(upper, upper * max(values))
        return lower, upper

    def _own_names(self) -> list[str]:
        return [
            name if not isinstance(getattr(self, name), tuple) else f"{name}[{i}]"
            for name, value in self._free()
            for i in range(len(value))
        ]

    def _with_own_theta(self: Self, theta: npt.NDArray[np.float64]) -> Self:
        changes: dict[str, Any] = {}
        start = 0
        for name, value in self._free():
            part = np.exp(theta[start : start + len(value)])
            start += len(value)
            many = isinstance(getattr(self, name), tuple)
            changes[name] = tuple(float(v) for v in part) if many else float(part[0])
            if self._box(name) != DEFAULT_BOUNDS:  # they must not move with the value
                changes[f"{name}_bounds"] = self._box(name)
        return replace(self, **changes) if changes else self

    @property
    def theta(self) -> npt.NDArray[np.float64]:
        """The free parameters' logarithms, (p,): this node's, then its parts' from left to right."""
        return np.concatenate([self._own_theta(), *(child.theta for child in self._children())])

    @property
    def bounds(self) -> npt.NDArray[np.float64]:
        """Lower and upper bounds of `theta`, (p, 2)."""
        return np.concatenate([self._own_bounds(), *(child.bounds for child in self._children())])

    @property
    def parameter_names(self) -> list[str]:
        """Names of the entries of `theta`, such as ``"k2__length_scale[0]"``."""
        names = self._own_names()
        for prefix, child in self._parts():
            names += [f"{prefix}__{name}" for name in child.parameter_names]
        return names

    def _parts(self) -> list[tuple[str, Kernel]]:
        return [(f"k{i + 1}", child) for i, child in enumerate(self._children())]

    def clone_with_theta(self: Self, theta: npt.ArrayLike) -> Self:
        """Return the same kernel with other free parameters.

        Parameters
        ----------
        theta : array_like, shape (p,)
            As `theta`.

        Raises
        ------
        ValueError
            If there are not p numbers, or one leaves its bounds or is not finite.
        """
        try:
            values = np.asarray(theta, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"theta must hold numbers, got {theta!r}") from None
        if values.shape != self.theta.shape:
            raise ValueError(
                f"theta must have shape {self.theta.shape} for {self!r}, got {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError("theta contains NaN or infinity")
        outside = (values < self.bounds[:, 0] - _ROUNDING) | (
            values > self.bounds[:, 1] + _ROUNDING
        )
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            raise ValueError(
                f"theta: {self.parameter_names[i]} leaves its bounds, {values[i]:g} is not in "
                f"{tuple(self.bounds[i])}: keep theta within `bounds`"
            )
        return self._with_theta(values)

    def _with_theta(self: Self, values: npt.NDArray[np.float64]) -> Self:
        n_own = len(self._own_theta())
        start = n_own
        children = []
        for child in self._children():
            size = len(child.theta)
            children.append(child._with_theta(values[start : start + size]))
            start += size
        return self._with_own_theta(values[:n_own])._with_children(tuple(children))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name; those of parts as ``"k1__length_scale"``.

        Parameters
        ----------
        deep : bool
            Whether to add those of the parts.
        """
        params = {f.name: getattr(self, f.name) for f in fields(self)}
        if deep:
            for prefix, child in self._parts():
                params.update({f"{prefix}__{k}": v for k, v in child.get_params().items()})
        return params

    def with_params(self: Self, **params: Any) -> Self:
        """Return a copy in which some of `get_params` are replaced.

        Raises
        ------
        ValueError
            For a name that this kernel does not have, or a value it cannot take.
        """
        known = self.get_params(deep=False)
        own = {name: value for name, value in params.items() if name in known}
        parts = self._parts()
        nested: dict[str, dict[str, Any]] = {prefix: {} for prefix, _ in parts}
        for name, value in params.items():
            prefix, separator, rest = name.partition("__")
            if name in known:
                continue
            if not separator or prefix not in nested:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has "
                    f"{sorted(self.get_params())}"
                )
            nested[prefix][rest] = value
        changed: Self = replace(self, **own) if own else self
        if any(nested.values()):
            changed = changed._with_children(
                tuple(
                    child.with_params(**nested[prefix]) if nested[prefix] else child
                    for prefix, child in changed._parts()
                )
            )
        return changed

    def __sklearn_clone__(self: Self) -> Self:
        """Return the kernel itself, which nobody can change."""
        return self

    # ---- text and data ------------------------------------------------------------------------

    def __repr__(self) -> str:
        """Return the call that makes this kernel, to four digits, without what is default."""
        shown = []
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.name.endswith("_bounds"):
                shown.append(f"{f.name}={show(value)}")
            elif value != f.default:
                shown.append(f"{f.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is its inverse."""
        data: dict[str, Any] = {"kernel": self._family}
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.name.endswith("_bounds") or value != f.default:
                data[f.name] = list(value) if isinstance(value, tuple) else value
        return data

    @classmethod
    def _from_dict(cls, parameters: Mapping[str, Any]) -> Kernel:
        return cls(**parameters)

    # ---- algebra ------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        """Return the sum with another kernel, or with a positive constant."""
        from kflow.kernels.composite import add

        return add(self, other)

    def __radd__(self, other: Any) -> Any:
        """Return the sum with a positive constant."""
        from kflow.kernels.composite import add

        return add(other, self)

    def __mul__(self, other: Any) -> Any:
        """Return the product with another kernel, or with a positive amplitude."""
        from kflow.kernels.composite import multiply

        return multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        """Return the kernel times a positive amplitude."""
        from kflow.kernels.composite import multiply

        return multiply(other, self)

    # ---- evaluation ---------------------------------------------------------------------------

    def _emit(self, program: Program) -> int:
        """Append this kernel's terms to a program and return the number of its own."""
        raise NotImplementedError

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the loss's derivatives with respect to this node's free parameters."""
        raise NotImplementedError

    def _diagonal(self, X: FloatArray) -> FloatArray:
        raise NotImplementedError

    def _check_dimension(self, d: int) -> None:
        """Raise ValueError if the kernel cannot take points in d dimensions."""
        for name in self._parameters:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != d:
                raise ValueError(
                    f"{type(self).__name__} has {len(value)} entries in {name}, but X has {d} "
                    f"columns: pass one for each column, or one number for all"
                )
        for child in self._children():
            child._check_dimension(d)

    def __call__(
        self, X: npt.ArrayLike, Z: npt.ArrayLike | None = None, *, n_threads: int | None = None
    ) -> FloatArray:
        """Return the kernel matrix K(X, Z): `kflow.gram`.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.
        Z : array_like, shape (m, d), optional
            Other points; X itself if not given.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`.

        Returns
        -------
        ndarray, shape (n, m)
            float32 if X and Z both are, else float64.
        """
        from kflow.operations import gram

        return gram(X, Z, kernel=self, n_threads=n_threads)

    def diag(self, X: npt.ArrayLike) -> FloatArray:
        """Return k(x, x) for each row of X.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Points.

        Returns
        -------
        ndarray, shape (n,)
            In the dtype of X, or float64.
        """
        x = as_matrix(X, "X", dtype=common_dtype(X))
        self._check_dimension(x.shape[1])
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
            Points.
        Z : array_like, shape (m, d)
            Centres.
        C : array_like, shape (m, q)
            Coefficients.
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
        from kflow.kernels.program import apply

        return apply(self, X, Z, C, n_threads)

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
            Whether to carry it to the points too.
        n_threads : int, optional
            Threads; see `kflow.get_num_threads`. The result does not depend on it.

        Returns
        -------
        theta_gradient : ndarray, shape (p,)
            dLoss / dtheta = sum_ij G_ij dK_ij / dtheta.
        X_gradient : ndarray, shape (n, d), or None
            dLoss / dX, if wanted.

        Notes
        -----
        No matrix per parameter is formed: K is evaluated once more, tile by tile, with its slopes.
        n^2 evaluations of each part of the kernel, and 2 n^2 d flops for the points and for each
        part with a length scale per dimension.
        """
        from kflow.kernels.program import contract

        g = as_matrix(G, "G", dtype=np.float64)
        if g.shape[0] == g.shape[1] and not np.array_equal(g, g.T):
            g = 0.5 * (g + g.T)
        return contract(self, X, g, points, n_threads)


def check_kernel(kernel: Any) -> Kernel:
    """Return `kernel` if it is one.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel must be one of kflow.kernels, such as Gaussian(), got {kernel!r}")
    return kernel
