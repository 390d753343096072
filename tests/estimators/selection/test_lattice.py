from __future__ import annotations

import numpy as np
import pytest

from kflow.estimators.selection.lattice import descend


def bowl(place):
    # A valley along the diagonal, in which steps to the sides alone go uphill.
    i, j = place
    return (i - j) ** 2 * 10.0 + (i + j - 6) ** 2


@pytest.mark.parametrize("start", [(0, 0), (-5, 5), (8, 8), (3, 3)])
def test_the_minimum_is_found(start):
    limits = (range(-5, 9), range(-5, 9))
    assert descend(bowl, start, limits) == (3, 3)


def test_each_place_is_asked_for_once_and_within_the_limits():
    asked = []
    limits = (range(3), range(3))
    found = descend(lambda place: asked.append(place) or bowl(place), (0, 2), limits)
    assert found == (2, 2)
    assert len(asked) == len(set(asked))
    assert all(i in limits[0] and j in limits[1] for i, j in asked)


def test_a_place_without_a_number_is_never_chosen():
    def error(place):
        return np.nan if place[1] < 1 else float(place[1])

    assert descend(error, (0, 3), (range(1), range(4))) == (0, 1)
    assert descend(lambda _: np.nan, (0, 0), (range(1), range(3))) == (0, 0)


def test_of_places_alike_the_first_stays():
    assert descend(lambda _: 1.0, (2, 2), (range(5), range(5))) == (2, 2)
