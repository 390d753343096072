from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.analysis import lipschitz, lipschitz_bound
from kflow.datasets import load_dataset
from kflow.demos.theory.capped_flow import capped_flow
from kflow.demos.theory.unit_images import UnitImages

SETTINGS = {
    "batch_size": 60,
    "nugget": 1.0,
    "step": "rms",
    "step_size": 0.1,
    "dtype": "float64",
    "n_threads": 1,
    "interpolation_nugget": 1.0,
}


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    return rng.normal(size=(3, 4))[y] + 0.4 * rng.normal(size=(120, 4)), y


@pytest.mark.parametrize("most", [1.5, 4.0])
def test_layers_stretch_no_more_than_the_cap(points, most):
    X, y = points
    kernel = kflow.kernels.Gaussian(1.0)
    classifier = capped_flow(X, y, kernel, SETTINGS, n_layers=5, most=most, seed=0)
    assert classifier.flow_.n_layers_ == 5
    bound = float(lipschitz_bound(classifier, layers=[5])[0])
    assert 0.8 * np.log10(most) < bound <= np.log10(most) + 1e-9
    assert lipschitz(classifier, X, layers=[5], max_points=10).local.max() <= most
    assert classifier.score(X, y) > 0.8
    # The training points that the interpolant stands on are where the layers take them.
    moved = classifier.flow_.transform(X)[classifier.interpolation_rows_]
    np.testing.assert_allclose(moved, classifier.interpolant_.centres, atol=1e-10)


def test_without_effect_of_the_cap_it_is_the_flow(points):
    X, y = points
    kernel = kflow.kernels.Gaussian(1.0)
    settings = {key: SETTINGS[key] for key in SETTINGS if key != "interpolation_nugget"}
    one = kflow.KernelFlow(kernel, n_layers=1, **settings, random_state=3)
    one.fit(X, kflow.one_hot(y))
    classifier = capped_flow(X, y, kernel, SETTINGS, n_layers=1, most=1e9, seed=3)
    np.testing.assert_allclose(classifier.flow_.transform(X), one.points_, atol=1e-12)


def test_images_of_norm_one():
    data = load_dataset("digits")
    images = UnitImages.draw(data, 100, 30, seed=1)
    again = UnitImages.draw(data, 100, 30, seed=1)
    assert [len(part[0]) for part in (images.train, images.held_out, images.test)] == [
        100,
        30,
        len(data.y_test),
    ]
    assert images.train[0].shape == (100, 64)
    np.testing.assert_array_equal(images.train[0], again.train[0])
    norms = np.linalg.norm(images.train[0], axis=1)
    np.testing.assert_allclose(norms, 1.0)
    other = UnitImages.draw(data, 100, 30, seed=2)
    assert not np.array_equal(images.train[1], other.train[1])
