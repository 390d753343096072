"""States of random generators as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["generator_from_state", "generator_state", "set_generator_state"]

_KNOWN = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def generator_state(rng: np.random.Generator) -> Any:
    """Return the state of a generator as JSON data."""
    return _plain(rng.bit_generator.state)


def generator_from_state(state: Mapping[str, Any]) -> np.random.Generator:
    """Return a new generator in a state that `generator_state` returned.

    Raises
    ------
    Exception
        Of many kinds, if `state` is no such state.
    """
    if state.get("bit_generator") not in _KNOWN:
        raise ValueError(f"unknown bit generator {state.get('bit_generator')!r}")
    # NumPy before 2.5 does not check the position in the buffer: it would read beyond the end.
    pos, buffer_pos = state["state"].get("pos", 0), state.get("buffer_pos", 0)
    if not (0 <= pos <= 624 and 0 <= buffer_pos <= 4):
        raise ValueError("the bit generator's position is outside its buffer")
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = _unplain(state)
    return np.random.Generator(bits)


def set_generator_state(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Bring a generator of the same kind into a state that `generator_state` returned."""
    rng.bit_generator.state = generator_from_state(state).bit_generator.state


def _plain(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"array": state.tolist(), "dtype": state.dtype.str}
    return state.item() if isinstance(state, np.generic) else state


def _unplain(state: Any) -> Any:
    if isinstance(state, Mapping):
        if set(state) == {"array", "dtype"}:
            dtype = np.dtype(state["dtype"])
            if dtype.kind != "u":
                raise ValueError(f"a generator's numbers are not of dtype {dtype}")
            return np.array(state["array"], dtype=dtype)
        return {key: _unplain(value) for key, value in state.items()}
    return state
