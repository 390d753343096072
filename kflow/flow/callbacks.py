"""Callbacks of a flow: functions that are called with it after every layer.

A true result ends the flow: if the flow is resumed from a checkpoint later, it stays as it is. A
callback with a true attribute ``interrupts``, such as one that waits for Ctrl-C, ends the run only:
the flow can be resumed as if nothing had happened.

A callback that remembers something between layers has two more methods, so that a resumed flow ends
where it would have ended without an interruption: ``to_state()`` returns JSON data without NaN, and
``from_state(state)`` restores the callback from these data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from kflow.errors import ModelFileError

__all__ = ["Callback", "StatefulCallback", "callback_states", "ends_flow", "set_callback_states"]

# A function of the flow, a `kflow.KernelFlow`, that returns whether the flow should end.
Callback: TypeAlias = Callable[[Any], "bool | None"]


@runtime_checkable
class StatefulCallback(Protocol):
    """A callback that remembers something between layers."""

    def __call__(self, flow: Any) -> bool | None:
        """Look at the flow after a layer, and return whether it should end."""

    def to_state(self) -> Any:
        """Return what the callback remembers, as JSON data without NaN."""

    def from_state(self, state: Any) -> None:
        """Restore what the callback remembered from the result of `to_state`.

        Raises
        ------
        ValueError
            If the state comes from a callback with other settings.
        """


def ends_flow(callback: Callback) -> bool:
    """Return whether a callback that ends a run also ends the flow."""
    return not getattr(callback, "interrupts", False)


def callback_states(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    """Return the class and the state of each callback that has a state, in order."""
    return [
        {"class": type(callback).__qualname__, "state": callback.to_state()}
        for callback in callbacks
        if isinstance(callback, StatefulCallback)
    ]


def set_callback_states(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> None:
    """Give callbacks the states that `callback_states` returned.

    Raises
    ------
    ValueError
        If the callbacks with a state are not of the same classes as at that time.
    """
    stateful = [callback for callback in callbacks if isinstance(callback, StatefulCallback)]
    here = [type(callback).__qualname__ for callback in stateful]
    there = [state.get("class") for state in states]
    if here != there:
        raise ValueError(
            f"callbacks: the flow had {there or 'none'} with a state, here are {here or 'none'}: "
            "pass those that it was fitted with"
        )
    for callback, state in zip(stateful, states, strict=True):
        try:
            callback.from_state(state["state"])
        except ValueError:  # it says what is wrong
            raise
        except Exception as error:  # from a state that no callback of this class has
            raise ModelFileError(
                f"callbacks: the state of {type(callback).__qualname__} is damaged: {error}"
            ) from error
