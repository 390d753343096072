"""Callbacks of a flow: the name under which `kflow.flow.callbacks` is documented."""

from __future__ import annotations

from kflow.flow.callbacks import (
    Callback,
    StatefulCallback,
    callback_states,
    ends_flow,
    set_callback_states,
)

__all__ = ["Callback", "StatefulCallback", "callback_states", "ends_flow", "set_callback_states"]
