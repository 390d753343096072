from __future__ import annotations

import numpy as np
import pytest

from kflow import KernelFlow, kernels
from kflow.estimators.selection.candidates import Candidate, KernelChoice
from kflow.estimators.selection.flows import batch_size_of, default_nugget, moving_fold
from kflow.estimators.selection.folds import Fold, Rows

START = Candidate(KernelChoice(kernels.Gaussian(1.0), relative=True), 0.01)


@pytest.fixture
def fold(rng):
    X = rng.normal(size=(60, 3))
    rows = Rows(X, np.eye(2)[(X[:, 0] > 0).astype(int)])
    return Fold(rows[np.arange(40)], rows[np.arange(40, 60)])


def test_the_points_of_a_flow(fold):
    kernel = kernels.Gaussian(2.0)
    settings = {"batch_size": "auto", "nugget": "auto", "step": "rms", "random_state": 3}
    moved = list(moving_fold(settings, fold, kernel, START, (2, 5)))
    flow = KernelFlow(kernel, n_layers=2, batch_size=20, nugget=0.1, step="rms", random_state=3)
    flow.fit(fold.kept.points, fold.kept.targets, follow={"new": fold.left_out.points})
    for part, more in zip(moved, (0, 3), strict=True):
        flow.run(more)
        np.testing.assert_array_equal(part.kept.points, flow.points_)
        np.testing.assert_array_equal(part.left_out.points, flow.follow_["new"])
        assert part.kept.targets is fold.kept.targets


def test_given_settings_count(fold):
    settings = {"batch_size": 100, "nugget": 2.0, "random_state": 0}
    (moved,) = moving_fold(settings, fold, kernels.Gaussian(2.0), START, (3,))
    flow = KernelFlow(kernels.Gaussian(2.0), n_layers=3, batch_size=40, nugget=2.0, random_state=0)
    flow.fit(fold.kept.points, fold.kept.targets)
    np.testing.assert_array_equal(moved.kept.points, flow.points_)


def test_a_flow_that_fails_ends(fold):
    doubled = fold.moved(np.zeros_like(fold.kept.points), fold.left_out.points)
    settings = {"batch_size": "auto", "nugget": 0.0, "random_state": 0}
    assert list(moving_fold(settings, doubled, kernels.Gaussian(1.0), START, (1, 2))) == []


def test_defaults():
    assert [batch_size_of("auto", n) for n in (4, 7, 100, 10**6)] == [4, 4, 50, 600]
    assert [default_nugget(nugget) for nugget in (1e-6, 0.1, 3.0)] == [0.1, 0.1, 3.0]
