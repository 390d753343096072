"""Settings that may change from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from kflow._base.arguments import as_count

__all__ = ["SCHEDULES", "Schedule"]

# The settings of a flow that may be schedules.
SCHEDULES = ("nugget", "step", "step_size", "gradient_cap")

T = TypeVar("T")


class Schedule(Generic[T]):
    """A setting as a function of the layer.

    Parameters
    ----------
    value : object, mapping, or callable
        A constant; or a mapping {first layer: value}, which is piecewise constant and must have a
        value for layer 0; or a function of the layer (0 for the first).
    name : str
        Name of the argument, for error messages.
    check : callable
        Returns a valid value, or raises TypeError or ValueError.
    """

    def __init__(self, value: Any, name: str, check: Callable[[Any], T]) -> None:
        self._name = name
        self._check = check
        self._function: Callable[[int], Any] | None = None
        self._pieces: list[tuple[int, T]] = []
        if isinstance(value, Mapping):
            # JSON turns the keys into strings.
            try:
                pieces = {_layer(layer): check(piece) for layer, piece in value.items()}
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"{name} as a schedule must map first layers to values: {error}"
                ) from None
            if len(pieces) < len(value):
                raise ValueError(
                    f"{name} as a schedule has two values for one layer, got {value!r}"
                )
            if 0 not in pieces or min(pieces) < 0:
                raise ValueError(f"{name} as a schedule must have a value for layer 0")
            self._pieces = sorted(pieces.items())
        elif callable(value):
            self._function = value
        else:
            self._pieces = [(0, check(value))]

    def __call__(self, layer: int) -> T:
        """Return the value for one layer."""
        if self._function is not None:
            try:
                return self._check(self._function(layer))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self._name} at layer {layer}: {error}") from None
        return next(value for first, value in reversed(self._pieces) if first <= layer)

    @property
    def is_constant(self) -> bool:
        """Whether all layers have the same value."""
        return self._function is None and len(self._pieces) == 1

    @staticmethod
    def to_json(value: Any) -> Any:
        """Return the user's setting as JSON data; None for a function, which a file cannot hold."""
        if isinstance(value, Mapping):
            return {str(int(layer)): _plain(piece) for layer, piece in value.items()}
        return None if callable(value) else _plain(value)


def _layer(key: Any) -> int:
    return int(key) if isinstance(key, str) else as_count(key, "a layer", -(2**63))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int)):
        return value
    # A number of NumPy, or of another type that was accepted as a number.
    return value.item() if hasattr(value, "item") else float(value)
