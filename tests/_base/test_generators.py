from __future__ import annotations

import json

import numpy as np
import pytest

from kflow._base.generators import generator_from_state, generator_state, set_generator_state

KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_through_json(kind):
    rng = np.random.Generator(getattr(np.random, kind)(3))
    rng.integers(10, size=7, dtype=np.uint32)  # half a word is left over
    state = json.loads(json.dumps(generator_state(rng)))
    again, other = generator_from_state(state), np.random.Generator(getattr(np.random, kind)(4))
    set_generator_state(other, state)
    expected = rng.normal(size=1000)
    np.testing.assert_array_equal(again.normal(size=1000), expected)
    np.testing.assert_array_equal(other.normal(size=1000), expected)


@pytest.mark.parametrize("kind", ["MT19937", "Philox"])
def test_a_position_beyond_the_buffer(kind):
    state = generator_state(np.random.Generator(getattr(np.random, kind)(3)))
    place = state["state"] if kind == "MT19937" else state
    place["pos" if kind == "MT19937" else "buffer_pos"] = 10**6
    with pytest.raises(ValueError, match="outside its buffer"):
        generator_from_state(state)


def test_unknown_generators():
    with pytest.raises(ValueError, match="unknown bit generator 'default_rng'"):
        generator_from_state({"bit_generator": "default_rng"})
    with pytest.raises(ValueError, match="unknown bit generator None"):
        generator_from_state({})
    mersenne = generator_state(np.random.Generator(np.random.MT19937(3)))
    with pytest.raises(ValueError, match="PCG64"):
        set_generator_state(np.random.default_rng(0), mersenne)
