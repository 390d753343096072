"""The public name of `kflow.flow.callbacks`."""

from __future__ import annotations

from kflow.flow.callbacks import (
    Callback,
    StatefulCallback,
    callback_states,
    ends_flow,
    set_callback_states,
)

__all__ = ["Callback", "StatefulCallback", "callback_states", "ends_flow", "set_callback_states"]
