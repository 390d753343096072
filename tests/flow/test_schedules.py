from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from kflow.flow.schedules import Schedule


def positive(value):
    number = float(value)
    if number <= 0:
        raise ValueError("must be positive")
    return number


def test_constant():
    schedule = Schedule(3, "p", positive)
    assert [schedule(layer) for layer in (0, 7)] == [3.0, 3.0]
    assert type(schedule(0)) is float


def test_mapping_is_piecewise_constant():
    schedule = Schedule({10: 2, 0: 1, 20: 3}, "p", positive)
    assert [schedule(layer) for layer in (0, 9, 10, 19, 20, 10**6)] == [1, 1, 2, 2, 3, 3]


def test_mapping_survives_json():
    setting = {0: 1.0, 5: 0.5}
    again = json.loads(json.dumps(Schedule.to_json(setting)))
    schedule = Schedule(again, "p", positive)
    assert [schedule(layer) for layer in (4, 5)] == [1.0, 0.5]


def test_function():
    calls = []

    def setting(layer):
        calls.append(layer)
        return 1 / (1 + layer)

    schedule = Schedule(setting, "p", positive)
    assert calls == []
    assert schedule(3) == 0.25
    assert calls == [3]
    assert Schedule.to_json(setting) is None


def test_to_json_keeps_constants():
    assert Schedule.to_json(0.5) == 0.5
    assert Schedule.to_json("rms") == "rms"
    assert Schedule.to_json(None) is None


@pytest.mark.parametrize(
    "value", [np.int64(3), np.float32(3), np.float64(3), np.array(3.0), Fraction(3), 3], ids=repr
)
def test_to_json_makes_plain_numbers(value):
    for setting in (value, {0: value}, {np.int64(0): value, 5.0: value}):
        again = json.loads(json.dumps(Schedule.to_json(setting)))
        assert Schedule(again, "p", positive)(7) == 3.0


def test_to_json_makes_plain_text():
    assert json.dumps(Schedule.to_json({0: np.str_("rms")})) == '{"0": "rms"}'


@pytest.mark.parametrize("value", [{}, {1: 1.0}, {-1: 1.0, 0: 1.0}])
def test_a_mapping_must_start_at_layer_0(value):
    with pytest.raises(ValueError, match="p as a schedule must have a value for layer 0"):
        Schedule(value, "p", positive)


@pytest.mark.parametrize(
    ("value", "error"),
    [({0: -1.0}, ValueError), ({"a": 1.0}, ValueError), ({0: None}, TypeError)],
)
def test_bad_pieces_are_named(value, error):
    with pytest.raises(error, match="p as a schedule must map first layers to values"):
        Schedule(value, "p", positive)


def test_bad_constant():
    with pytest.raises(ValueError, match="must be positive"):
        Schedule(0, "p", positive)


def test_bad_values_of_a_function_name_the_layer():
    schedule = Schedule(lambda layer: 1 - layer, "p", positive)
    assert schedule(0) == 1.0
    with pytest.raises(ValueError, match="p at layer 1: must be positive"):
        schedule(1)
    with pytest.raises(TypeError, match="p at layer 0: "):
        Schedule(lambda _: None, "p", positive)(0)


@pytest.mark.parametrize("value", [{0: 1.0, "0": 2.0}, {0: 1.0, 3: 1.0, "3": 2.0}])
def test_two_values_for_one_layer_are_refused(value):
    with pytest.raises(ValueError, match="two values for one layer"):
        Schedule(value, "size", float)


@pytest.mark.parametrize("key", [1.5, True, None])
def test_a_layer_is_a_whole_number(key):
    with pytest.raises(TypeError, match="must map first layers to values"):
        Schedule({0: 1.0, key: 2.0}, "size", float)
