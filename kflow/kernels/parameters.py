"""Values with positive parameters: theta, the flat vector of their logarithms, and their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_positive, shown
from kflow._base.parameter_names import NamedParameters

__all__ = ["DEFAULT_BOUNDS", "Bounds", "Parametric", "Value", "as_tuple", "as_values", "show"]

Box: TypeAlias = tuple[float, float]
Bounds: TypeAlias = Box | tuple[Box, ...] | Literal["fixed"]
Value: TypeAlias = float | tuple[float, ...]
Self = TypeVar("Self", bound="Parametric")

DEFAULT_BOUNDS = (1e-5, 1e5)

# A logarithm and an exponential may change a bound by so much, relatively.
_ROUNDING = 1e-12


def _one_value(value: Any, name: str) -> float:
    """Return one positive number."""
    number = as_values(value, name)
    if isinstance(number, tuple):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    return number


def as_values(value: Any, name: str) -> Value:
    """Return a positive number, or a tuple of them."""
    if isinstance(value, (str, bytes)) or np.ndim(value) == 0:
        number = as_positive(value, name)
        # The squares of smaller or larger numbers underflow or overflow.
        if not 1e-150 < number < 1e150:
            raise ValueError(f"{name} must be between 1e-150 and 1e150, got {shown(value)}")
        return number
    if np.ndim(value) != 1 or len(value) == 0:
        raise ValueError(f"{name} must be a number or one number per dimension, got {shown(value)}")
    return tuple(_one_value(number, f"{name}[{i}]") for i, number in enumerate(value))


def _as_bounds(value: Any, name: str, n_values: int | None) -> Bounds:
    """Return a lower and an upper bound, such pairs for so many values, or "fixed"."""
    if isinstance(value, str) and value == "fixed":
        return "fixed"
    if isinstance(value, (tuple, list, np.ndarray)) and any(map(np.iterable, value)):
        if n_values is None or len(value) != n_values:
            count = "one number" if n_values is None else f"{n_values} numbers"
            raise ValueError(
                f"{name} holds {len(value)} pairs for {count}: pass one pair for all, or a pair for "
                "each dimension"
            )
        return tuple(_as_box(pair, f"{name}[{i}]") for i, pair in enumerate(value))
    return _as_box(value, name)


def _as_box(value: Any, name: str) -> Box:
    """Return a lower and an upper bound."""
    if isinstance(value, str):
        raise ValueError(f"{name} must be (lower, upper) or 'fixed', got {shown(value)}")
    try:
        lower, upper = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be (lower, upper) or 'fixed', got {shown(value)}") from None
    lower, upper = as_positive(lower, f"{name}[0]"), as_positive(upper, f"{name}[1]")
    if lower > upper:
        raise ValueError(f"{name} must be (lower, upper), got {shown(value)}: swap them")
    return lower, upper


def as_tuple(value: Value) -> tuple[float, ...]:
    """Return one number, or one for each dimension, as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def show(value: Any) -> str:
    """Return a parameter as text, with four digits."""
    if isinstance(value, tuple):
        return "[" + ", ".join(show(number) for number in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


@dataclass(frozen=True, repr=False)
class Parametric(NamedParameters):
    """Base of immutable values with positive parameters, some of which have parts of the same kind.

    Each positive parameter `p` has a twin `p_bounds`: its lower and upper bound, or ``"fixed"``. A
    parameter with one number for each dimension may have a pair of bounds for each, too.
    """

    family: ClassVar[str] = ""
    # The parameters that can be learned, in the order of theta.
    _parameters: ClassVar[tuple[str, ...]] = ()
    # The parameters that may be one number for each dimension.
    _per_dimension: ClassVar[tuple[str, ...]] = ("length_scale", "period")

    def __post_init__(self) -> None:
        """Check the parameters."""
        if not self.family:
            raise TypeError(f"{type(self).__name__} is abstract: use kflow.kernels.Gaussian, say")
        for name in self._parameters:
            self._check_parameter(name)

    def _check_parameter(self, name: str) -> None:
        check = as_values if name in self._per_dimension else _one_value
        value = check(getattr(self, name), name)
        n_values = len(value) if isinstance(value, tuple) else None
        bounds = _as_bounds(getattr(self, f"{name}_bounds"), f"{name}_bounds", n_values)
        object.__setattr__(self, name, value)
        object.__setattr__(self, f"{name}_bounds", bounds)
        if not isinstance(bounds, str) and bounds != DEFAULT_BOUNDS:
            boxes = np.broadcast_to(bounds, (n_values or 1, 2)).tolist()
            for number, (lower, upper) in zip(as_tuple(value), boxes, strict=True):
                # One rounding of exp(log(bound)) is not outside.
                if not lower * (1 - _ROUNDING) <= number <= upper * (1 + _ROUNDING):
                    raise ValueError(
                        f"{name}={number:g} is outside {name}_bounds={(lower, upper)}: pass other "
                        "bounds, or 'fixed' for a parameter that is not to be learned"
                    )

    # ---- parameters ---------------------------------------------------------------------------

    def _children(self) -> tuple[Any, ...]:
        """Return the parts."""
        return ()

    def _with_children(self: Self, children: tuple[Any, ...]) -> Self:
        """Return a copy with other parts."""
        assert not children
        return self

    def _free(self) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
        """Yield the names and the values, as vectors, of the own parameters that are not fixed."""
        for name in self._parameters:
            if getattr(self, f"{name}_bounds") != "fixed":
                yield name, np.array(as_tuple(getattr(self, name)))

    def _own_theta(self) -> npt.NDArray[np.float64]:
        """Return the logarithms of the own free parameters."""
        return np.concatenate([[], *(np.log(value) for _, value in self._free())])

    def _own_bounds(self) -> npt.NDArray[np.float64]:
        """Return the bounds of `_own_theta`, as rows."""
        rows = [np.empty((0, 2))]
        for name, value in self._free():
            rows.append(np.broadcast_to(np.log(self._box(name)), (len(value), 2)))
        return np.concatenate(rows)

    def _box(self, name: str) -> Any:
        """Return the bounds of a free parameter, one pair or one for each dimension.

        The default bounds widen so that they include the value.
        """
        bounds = getattr(self, f"{name}_bounds")
        if bounds != DEFAULT_BOUNDS:
            return bounds
        lower, upper = DEFAULT_BOUNDS
        values = as_tuple(getattr(self, name))
        if not lower <= min(values) <= max(values) <= upper:
            lower, upper = min(lower, lower * min(values)), max(upper, upper * max(values))
        return lower, upper

    def _own_names(self) -> list[str]:
        """Return the names of the entries of `_own_theta`."""
        return [
            name if not isinstance(getattr(self, name), tuple) else f"{name}[{i}]"
            for name, value in self._free()
            for i in range(len(value))
        ]

    def _with_own_theta(self: Self, theta: npt.NDArray[np.float64]) -> Self:
        """Return a copy with other own free parameters."""
        changes: dict[str, Any] = {}
        start = 0
        for name, value in self._free():
            part = np.exp(theta[start : start + len(value)])
            start += len(value)
            many = isinstance(getattr(self, name), tuple)
            changes[name] = tuple(float(v) for v in part) if many else float(part[0])
            if self._box(name) != DEFAULT_BOUNDS:  # widened bounds must not move with the value
                changes[f"{name}_bounds"] = self._box(name)
        return replace(self, **changes) if changes else self

    @property
    def theta(self) -> npt.NDArray[np.float64]:
        """Logarithms of the free parameters, (p,): the own ones, then those of the parts in order."""
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

    def _parts(self) -> list[tuple[str, Any]]:
        """Return the parts with the prefixes of their parameters' names."""
        return [(f"k{i + 1}", child) for i, child in enumerate(self._children())]

    def clone_with_theta(self: Self, theta: npt.ArrayLike) -> Self:
        """Return the same kernel with other free parameters.

        Parameters
        ----------
        theta : array_like, shape (p,)
            Their logarithms, in the order of `theta`.

        Raises
        ------
        ValueError
            If there are not p numbers, or one is outside its bounds or not finite.
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
        """Return a copy with other free parameters, which have been checked."""
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
            Whether to add the arguments of the parts.
        """
        params = {f.name: getattr(self, f.name) for f in fields(self)}
        if deep:
            for prefix, child in self._parts():
                params.update({f"{prefix}__{k}": v for k, v in child.get_params().items()})
        return params

    def with_params(self: Self, **params: Any) -> Self:
        """Return a copy in which some of the arguments that `get_params` names are replaced.

        Raises
        ------
        ValueError
            For a name that this kernel does not have, or a value that it cannot take.
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
        """Return the kernel itself: it cannot be changed, so that a copy is not needed."""
        return self

    def check_dimension(self, d: int) -> None:
        """Raise ValueError if the kernel cannot take points in d dimensions."""
        for name in self._parameters:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != d:
                raise ValueError(
                    f"{type(self).__name__} has {len(value)} entries in {name}, but X has {d} "
                    "columns: pass one for each column, or one number for all"
                )
        for child in self._children():
            child.check_dimension(d)

    # ---- text and data ------------------------------------------------------------------------

    def __repr__(self) -> str:
        """Return the call that makes this kernel, to four digits, without default bounds."""
        parts = []
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.name.endswith("_bounds"):
                parts.append(f"{f.name}={show(value)}")
            elif value != f.default:
                parts.append(f"{f.name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain data for JSON; `from_dict` is its inverse."""
        data: dict[str, Any] = {"kernel": self.family}
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.name.endswith("_bounds") or value != f.default:
                data[f.name] = list(value) if isinstance(value, tuple) else value
        return data

    @classmethod
    def from_plain(
        cls, parameters: Mapping[str, Any], make_part: Callable[[Any], Any]
    ) -> Parametric:
        """Return what `to_dict` described.

        Parameters
        ----------
        parameters : mapping
            The description without the name of the family.
        make_part : callable
            Makes a part from its description.
        """
        del make_part
        return cls(**parameters)
