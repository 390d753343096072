"""What displays keep is their own, and what they cannot draw is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from kflow import plotting

RNG = np.random.default_rng(0)
LAYERS, ROWS = np.arange(5), RNG.normal(size=(5, 3))
SERIES, POINTS, LABELS = RNG.random(5), RNG.normal(size=(10, 2)), np.arange(10) % 2

# The first array of numbers is the one that tests replace.
ARGUMENTS = {
    "AdversarialDisplay": {"distances": {"a": SERIES}},
    "ClassDistanceDisplay": {"within": SERIES, "layers": LAYERS, "between": SERIES + 1.0},
    "ConvergenceDisplay": {"errors": {"a": SERIES}, "steps": LAYERS + 1},
    "DecisionRegionDisplay": {
        "response": RNG.random((3, 4, 2)),
        "xx0": np.tile(np.arange(4.0), (3, 1)),
        "xx1": np.repeat(np.arange(3.0), 4).reshape(3, 4),
        "points": POINTS,
        "labels": LABELS,
        "classes": np.array([0, 1]),
    },
    "DimensionDisplay": {"dimensions": ROWS, "layers": LAYERS, "classes": np.arange(2)},
    "ErrorDisplay": {"errors": {5: SERIES}, "layers": LAYERS},
    "FlowAnimation": {"points": RNG.normal(size=(3, 10, 2)), "labels": LABELS},
    "ForecastDisplay": {"members": ROWS, "observed": SERIES[:3], "times": SERIES[:3]},
    "ImageGridDisplay": {"images": RNG.random((3, 4, 4)), "titles": ["a", "b", "c"]},
    "ImageStripDisplay": {
        "images": RNG.random((3, 4, 4)),
        "moved": RNG.random((3, 4, 4)),
        "labels": np.arange(3),
    },
    "ImportanceDisplay": {"importances": SERIES},
    "LipschitzDisplay": {"local": np.abs(ROWS), "layers": LAYERS},
    "LossDisplay": {"rho": SERIES, "layers": LAYERS},
    "MarginDisplay": {"margins": {"a": SERIES}},
    "PointsDisplay": {"points": POINTS, "labels": LABELS},
    "SpreadDisplay": {"errors": {"a": SERIES}},
    "VelocityDisplay": {
        "points": POINTS,
        "velocities": POINTS,
        "labels": LABELS,
        "background": POINTS,
        "background_labels": LABELS,
    },
}


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(part)


def with_other_numbers(arguments, change):
    name, value = next(iter(arguments.items()))
    if isinstance(value, dict):
        other = {key: change(array.copy()) for key, array in value.items()}
    else:
        other = change(value.copy())
    return {**arguments, name: other}, name


def test_all_displays_are_here():
    # That of an emulator takes its errors, which are frozen, and not arrays.
    assert ARGUMENTS.keys() | {"EmulatorDisplay"} == set(plotting.__all__)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_displays_keep_copies(name):
    display = getattr(plotting, name)(**ARGUMENTS[name])
    for kept in arrays_in(vars(display)):
        assert not any(np.shares_memory(kept, given) for given in arrays_in(ARGUMENTS[name]))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_masked_and_complex_numbers_are_refused(name):
    def masked(array):
        return np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) == 1)

    arguments, argument = with_other_numbers(ARGUMENTS[name], masked)
    with pytest.raises(ValueError, match=rf"{argument}.* has masked entries"):
        getattr(plotting, name)(**arguments)
    arguments, argument = with_other_numbers(ARGUMENTS[name], lambda array: array + 1j)
    with pytest.raises(TypeError, match=rf"{argument}.* must hold real numbers"):
        getattr(plotting, name)(**arguments)
