from __future__ import annotations

import math

import numpy as np
import pytest

from kflow.evaluation import class_distance_ratio, class_distances
from kflow.testing import slow as reference


def test_class_distance_ratio_is_that_of_all_pairs(rng, dtype):
    points = (rng.normal(size=(40, 3)) + 5).astype(dtype)
    labels = rng.integers(0, 4, 40)
    expected = reference.class_distance_ratio(points, labels)
    assert class_distance_ratio(points, labels) == pytest.approx(expected, rel=1e-10)


def test_class_distances_are_those_of_all_pairs(rng, dtype):
    points = rng.normal(size=(40, 3)).astype(dtype)
    labels = rng.integers(3, size=40)
    squares = ((points[:, None].astype(float) - points) ** 2).sum(axis=2)
    same = labels[:, None] == labels
    others = ~np.eye(40, dtype=bool)
    expected = squares[same & others].mean(), squares[~same].mean()
    assert class_distances(points, labels) == pytest.approx(expected, rel=1e-10)


def test_class_distance_ratio_of_collapsed_classes_far_from_the_origin(rng):
    labels = np.arange(30) % 3
    noise = 1e-6 * rng.normal(size=(30, 3))
    points = 100 + np.eye(3)[labels] + noise
    expected = reference.class_distance_ratio(points, labels)
    assert class_distance_ratio(points, labels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["one class", "no pairs"])
def test_class_distance_ratio_needs_both_kinds_of_pairs(labels):
    assert math.isnan(class_distance_ratio(np.eye(3), np.array(labels)))
    assert math.isnan(class_distance_ratio(np.zeros((4, 2)), np.array([0, 0, 1, 1])))
