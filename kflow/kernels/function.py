"""Kernels given by a user's functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_positive, shown
from kflow._base.array_types import FloatArray
from kflow.kernels.base import Kernel
from kflow.kernels.parameters import DEFAULT_BOUNDS, show
from kflow.kernels.program import Contraction, Program, Term

__all__ = ["FunctionKernel", "NonFiniteError"]

# Relative step of central differences: their error is then about 1e-10.
_STEP = 6e-6


class NonFiniteError(ValueError):
    """A user's function returned numbers that are not finite: learning can go back to earlier parameters."""


def _as_parameter(value: Any, name: str, positive: bool) -> Any:
    """Return a number, or a read-only vector."""
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        array = np.empty((0,))
    if array.ndim > 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"parameters: {name} must be a finite number or vector, got {shown(value)}"
        )
    if positive and not (array > 0).all():
        raise ValueError(f"parameters: {name} must be positive, or not in `positive`")
    array.flags.writeable = False
    return float(array) if array.ndim == 0 else array


def _as_limits(value: Any, name: str, parameter: Any, positive: bool) -> Any:
    """Return a parameter's bounds, or "fixed"."""
    if isinstance(value, str) and value == "fixed":
        return "fixed"
    if value is None:
        if not positive:
            return -np.inf, np.inf
        lower, upper = DEFAULT_BOUNDS
        return min(lower, lower * np.min(parameter)), max(upper, upper * np.max(parameter))
    try:
        lower, upper = (float(limit) for limit in value)
    except (TypeError, ValueError):
        raise TypeError(
            f"bounds: {name} must be (lower, upper) or 'fixed', got {shown(value)}"
        ) from None
    if positive:
        as_positive(lower, f"bounds: the lower one of {name}")
    if not (lower <= np.min(parameter) and np.max(parameter) <= upper):
        raise ValueError(
            f"parameters: {name}={parameter!r} is outside its bounds {(lower, upper)}: pass others"
        )
    return lower, upper


class FunctionKernel(Kernel):
    """A kernel that is a function of arrays, alone or as a part of sums and products.

    It can be used wherever other kernels can, as in `kflow.learn_kernel` and `kflow.GPRegressor`. It is
    as slow as the function. The function must be symmetric and positive
    semi-definite; that it returns the right shape and finite numbers is checked.

    Parameters
    ----------
    function : callable
        ``function(X, Z, **parameters)`` returns K(X, Z), (n, m), for X (n, d) and Z (m, d).
    parameters : mapping of str to float or array_like, optional
        Initial values, numbers or vectors, passed to all functions by name.
    positive : collection of str, optional
        The parameters that are positive and learned by their logarithms. None: all.
    bounds : mapping of str to (lower, upper) or "fixed", optional
        Bounds of all entries of a parameter; else (1e-5, 1e5) if it is positive, else none.
    gradient : callable, optional
        ``gradient(X, G, **parameters)`` returns a mapping from each parameter that is not fixed to
        sum_ij G_ij dK(X, X)_ij / dparameter, in the parameter's shape, for G (n, n), symmetric.
        None: central differences, two evaluations for each entry.
    points_gradient : callable, optional
        ``points_gradient(X, G, **parameters)`` returns sum_ij G_ij dK(X, X)_ij / dX, (n, d). None:
        central differences, two evaluations for each dimension.
    diagonal : callable, optional
        ``diagonal(X, **parameters)`` returns k(x, x), (n,). None: one evaluation for each row.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, naming them; when used, if a function returns the wrong
        shape or numbers that are not finite.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> brownian = kflow.kernels.FunctionKernel(lambda X, Z: np.minimum(X, Z.T))
    >>> brownian(np.array([[1.0], [2.0]]))
    array([[1., 1.],
           [1., 2.]])
    """

    family: ClassVar[str] = "function"

    function: Callable[..., Any]
    positive: frozenset[str]
    gradient: Callable[..., Any] | None
    points_gradient: Callable[..., Any] | None
    diagonal: Callable[..., Any] | None
    _bounds: Mapping[str, Any]
    _parameter_values: Mapping[str, Any]

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Mapping[str, Any] | None = None,
        *,
        positive: Collection[str] | None = None,
        bounds: Mapping[str, Any] | None = None,
        gradient: Callable[..., Any] | None = None,
        points_gradient: Callable[..., Any] | None = None,
        diagonal: Callable[..., Any] | None = None,
    ) -> None:
        values = {} if parameters is None else dict(parameters)
        names = set(values) if positive is None else set(positive)
        limits = {} if bounds is None else dict(bounds)
        for name, function_ in (
            ("function", function),
            ("gradient", gradient),
            ("points_gradient", points_gradient),
            ("diagonal", diagonal),
        ):
            if not callable(function_) and (function_ is not None or name == "function"):
                raise TypeError(f"{name} must be callable, got {function_!r}")
        for argument, given in (("positive", names), ("bounds", set(limits))):
            if given - set(values):
                raise ValueError(
                    f"{argument} names {sorted(given - set(values))}, which parameters lacks"
                )
        for name in values:
            values[name] = _as_parameter(values[name], name, name in names)
            limits[name] = _as_limits(limits.get(name), name, values[name], name in names)
        # Kernels are immutable: attributes are set here only.
        self.__dict__.update(
            function=function,
            positive=frozenset(names),
            _parameter_values=values,
            _bounds=limits,
            gradient=gradient,
            points_gradient=points_gradient,
            diagonal=diagonal,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Raise AttributeError: kernels are immutable."""
        raise AttributeError(f"kernels cannot be changed: use with_params({name}=...)")

    def _identity(self) -> tuple[Any, ...]:
        """Return what is compared: the functions, and the numbers."""
        functions = (self.function, self.gradient, self.points_gradient, self.diagonal)
        values = self._values().items()
        numbers = frozenset((name, np.shape(v), np.ravel(v).tobytes()) for name, v in values)
        return functions, numbers, self.positive, frozenset(self._bounds.items())

    def __eq__(self, other: object) -> bool:
        """Compare functions by identity and parameters by value."""
        return isinstance(other, FunctionKernel) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return the hash of what is compared."""
        return hash(self._identity())

    # ---- parameters ---------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters' values by name; a copy."""
        return dict(self._parameter_values)

    def _values(self) -> dict[str, Any]:
        return dict(self._parameter_values)

    def _is_positive(self, name: str) -> bool:
        return name in self.positive

    def _limits(self, name: str) -> Any:
        return self._bounds[name]

    def _free(self) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
        for name, value in self._values().items():
            if self._limits(name) != "fixed":
                yield name, np.atleast_1d(value)

    def _own_theta(self) -> npt.NDArray[np.float64]:
        parts = [np.log(v) if self._is_positive(name) else v for name, v in self._free()]
        return np.concatenate([[], *parts])

    def _own_bounds(self) -> npt.NDArray[np.float64]:
        rows = []
        for name, value in self._free():
            limits = np.array(self._limits(name))
            rows.append(
                np.tile(np.log(limits) if self._is_positive(name) else limits, (len(value), 1))
            )
        return np.concatenate([np.empty((0, 2)), *rows])

    def _own_names(self) -> list[str]:
        return [
            name if np.ndim(self._values()[name]) == 0 else f"{name}[{i}]"
            for name, value in self._free()
            for i in range(len(value))
        ]

    def _with_own_theta(self, theta: npt.NDArray[np.float64]) -> FunctionKernel:
        values = self._values()
        start = 0
        for name, value in self._free():
            part = theta[start : start + len(value)]
            start += len(value)
            part = np.exp(part) if self._is_positive(name) else part.copy()
            # exp(log(bound)) may be one rounding outside.
            part = np.clip(part, *self._limits(name))
            values[name] = float(part[0]) if np.ndim(values[name]) == 0 else part
        return self._with_values(values)

    def _with_values(self, values: Mapping[str, Any]) -> FunctionKernel:
        return FunctionKernel(**{**self.get_params(), "parameters": values})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        del deep
        return {
            "function": self.function,
            "parameters": self._values(),
            "positive": self.positive,
            "bounds": dict(self._bounds),
            "gradient": self.gradient,
            "points_gradient": self.points_gradient,
            "diagonal": self.diagonal,
        }

    def with_params(self, **params: Any) -> FunctionKernel:
        """Return a copy with other constructor's arguments."""
        unknown = set(params) - set(self.get_params())
        if unknown:
            raise ValueError(f"FunctionKernel has no parameter {sorted(unknown)[0]!r}")
        return FunctionKernel(**{**self.get_params(), **params})

    def __repr__(self) -> str:
        """Return the function's name and the parameters."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        shown = [name]
        for key, value in self._values().items():
            many = np.ndim(value) > 0
            text = show(tuple(map(float, value[:3]))) if many else show(value)
            shown.append(f"{key}={text[:-1] + ', ...]' if many and len(value) > 3 else text}")
        return f"FunctionKernel({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Raise TypeError: a function cannot be stored as data."""
        raise TypeError(
            f"{self!r} holds Python functions, which no file can hold: store its parameters and "
            "make the kernel anew"
        )

    # ---- evaluation ---------------------------------------------------------------------------

    def check_dimension(self, d: int) -> None:
        """Accept any dimension: the function itself may refuse one."""
        del d

    def _matrix(self, X: FloatArray, Z: FloatArray, values: Mapping[str, Any]) -> FloatArray:
        matrix = np.asarray(self.function(X, Z, **values))
        return self._checked(matrix, (len(X), len(Z)), "function", X.dtype)

    def _checked(
        self, result: Any, shape: tuple[int, ...], name: str, dtype: npt.DTypeLike = np.float64
    ) -> FloatArray:
        array = np.asarray(result)
        if array.shape != shape:
            raise ValueError(f"{name} of {self!r} must return shape {shape}, got {array.shape}")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} of {self!r} must return finite real numbers")
        if not np.isfinite(array).all():
            raise NonFiniteError(f"{name} of {self!r} must return finite real numbers")
        # A copy, which may be written into: the function may have returned a part of its argument.
        return np.array(array, dtype, order="C")

    def given_matrix(self, X: FloatArray, Z: FloatArray) -> FloatArray:
        """Return K(X, Z)."""
        return self._matrix(X, Z, self._values())

    def emit(self, program: Program) -> int:
        """Append the matrix that the function gives."""
        return program.add_given(self)

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivatives with respect to the free parameters, or to their logarithms."""
        names = [name for name, _ in self._free()]
        if not names:
            return []
        X, G = contraction.program.given_points(term), contraction.given_gradient(term)
        values = self._values()
        if self.gradient is None:
            gradients = {name: self._differences(X, G, name) for name in names}
        else:
            returned = self.gradient(X, G, **values)
            if not isinstance(returned, Mapping) or set(names) - set(returned):
                raise ValueError(
                    f"gradient of {self!r} must return a mapping with the keys {sorted(names)}"
                )
            gradients = {
                name: self._checked(returned[name], np.shape(values[name]), f"gradient[{name!r}]")
                for name in names
            }
        return [
            np.atleast_1d(values[name] * gradients[name])
            if self._is_positive(name)
            else np.atleast_1d(gradients[name])
            for name in names
        ]

    def _differences(self, X: FloatArray, G: FloatArray, name: str) -> FloatArray:
        values = self._values()
        entries = np.atleast_1d(values[name])
        gradient = np.empty(len(entries))
        for i, entry in enumerate(entries):
            step = _STEP * max(abs(entry), 1.0 if not self._is_positive(name) else 0.0)
            sums = []
            for moved in (entry + step, entry - step):
                changed = entries.copy()
                changed[i] = moved
                value = changed if np.ndim(values[name]) else float(moved)
                sums.append(float(np.vdot(G, self._matrix(X, X, {**values, name: value}))))
            gradient[i] = (sums[0] - sums[1]) / (2 * step)
        return gradient if np.ndim(values[name]) else gradient[0]

    def points_contraction(self, X: FloatArray, G: FloatArray) -> FloatArray:
        """Return sum_ij G_ij dK(X, X)_ij / dX, (n, d), for a symmetric G."""
        values = self._values()
        if self.points_gradient is not None:
            return self._checked(self.points_gradient(X, G, **values), X.shape, "points_gradient")
        gradient = np.empty_like(X)
        for k in range(X.shape[1]):
            step = _STEP * max(1.0, float(np.abs(X[:, k]).max()))
            shift = np.zeros(X.shape[1])
            shift[k] = step
            change = self._matrix(X + shift, X, values) - self._matrix(X - shift, X, values)
            # Both arguments of k(x_i, x_j) move, by symmetry alike.
            gradient[:, k] = np.einsum("ij,ij->i", G, change) / step
        return gradient

    def _diagonal(self, X: FloatArray) -> FloatArray:
        values = self._values()
        if self.diagonal is not None:
            return self._checked(self.diagonal(X, **values), (len(X),), "diagonal", X.dtype)
        rows = [self._matrix(X[i : i + 1], X[i : i + 1], values)[0, 0] for i in range(len(X))]
        return np.array(rows, X.dtype)
