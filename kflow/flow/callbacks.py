"""Callbacks of a flow: functions that are called with it after every layer.

A true result ends the flow: once it is resumed from a checkpoint, it stays as it is. A callback with a
true attribute ``interrupts`` ends the run only, such as one that waits for Ctrl-C: the flow is resumed
as if nothing had happened.

A callback that remembers something between layers has two methods more, so that a resumed flow ends
where the flow would have ended that nothing interrupted: ``to_state()`` returns JSON data without NaN,
``from_state(state)`` brings them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["Callback", "StatefulCallback", "callback_states", "ends_flow", "set_callback_states"]

# A function of the flow, a `kflow.KernelFlow`: whether it should end.
Callback: TypeAlias = Callable[[Any], "bool | None"]


@runtime_checkable
class StatefulCallback(Protocol):
    """A callback that remembers something between layers."""

    def __call__(self, flow: Any) -> bool | None:
        """Look at the flow after a layer; return whether it should end."""

    def to_state(self) -> Any:
        """Return what it remembers as JSON data, without NaN."""

    def from_state(self, state: Any) -> None:
        """Remember what `to_state` returned.

        Raises
        ------
        ValueError
            If it comes from a callback with other settings.
        """


def ends_flow(callback: Callback) -> bool:
    """Return whether a callback that ends a run ends the flow, too."""
    return not getattr(callback, "interrupts", False)


def callback_states(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    """Return class and state of those that have one, in order."""
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
        If there are others than at that time.
    """
    stateful = [callback for callback in callbacks if isinstance(callback, StatefulCallback)]
    here = [type(callback).__qualname__ for callback in stateful]
    there = [state["class"] for state in states]
    if here != there:
        raise ValueError(
            f"callbacks: the flow had {there or 'none'} with a state, here are {here or 'none'}: "
            "pass those that it was fitted with"
        )
    for callback, state in zip(stateful, states, strict=True):
        callback.from_state(state["state"])
