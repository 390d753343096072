from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.analysis import tangent_dimension


@pytest.fixture(scope="module", params=["float32", "float64"])
def fitted(request):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 5)).astype(request.param)
    flow = kflow.KernelFlow(
        n_layers=40, batch_size=60, nugget=1.0, step="rms", dtype=request.param, random_state=0
    )
    return flow.fit(X, X[:, 0] > 0), X


def derivative(flow, x, n_layers, h=1e-2):
    """Return the derivative of F_n at x by central differences, (d, d)."""
    near = np.concatenate([x + h * np.eye(len(x)), x - h * np.eye(len(x))]).astype(x.dtype)
    (moved,) = flow.trajectory(near, [n_layers], reduced=True)
    plus, minus = np.split(moved.astype(float), 2)
    return (plus - minus) / (2.0 * h)


def test_small_noise_measures_the_derivative(fitted):
    flow, X = fitted
    found = tangent_dimension(
        flow, X, layers=[0, 40], noise=1e-2, n_copies=2000, max_points=3, random_state=1
    )
    for i, n_layers in enumerate(found.layers):
        for j, row in enumerate(found.rows):
            s = np.linalg.svd(derivative(flow, X[row], n_layers), compute_uv=False)
            assert found.dimensions[i, j] == pytest.approx(
                (s**2).sum() ** 2 / (s**4).sum(), rel=0.05
            )
            assert found.stretch[i, j] == pytest.approx(np.sqrt((s**2).mean()), rel=0.05)
    assert found.dimensions[0] == pytest.approx(5.0, rel=0.02)
    assert (found.dimensions[1] < 5.0).all()


def test_few_copies_are_not_biased(fitted):
    flow, X = fitted
    few = [
        tangent_dimension(
            flow, X, layers=[0], n_copies=4, max_points=None, random_state=seed
        ).dimensions
        for seed in range(3)
    ]
    # The mean of the reciprocals: the trace of the square is what is estimated without bias.
    assert 1.0 / np.mean(1.0 / np.array(few)) == pytest.approx(5.0, rel=0.25)


def test_an_estimator_is_measured_after_its_scaling():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) * [1.0, 10.0, 100.0]
    classifier = kflow.KernelFlowClassifier(**kflow.presets.FIXED, random_state=0)
    classifier.fit(X, X[:, 0] > 0)
    found = tangent_dimension(classifier, X, layers=[0], n_copies=500, max_points=5)
    assert np.median(found.dimensions) == pytest.approx(3.0, rel=0.1)
    summary = found.summary()
    assert set(summary) == {"layers", "median", "stretch_median", "stretch_mean"}
    assert summary["layers"] == [0]
    assert "TangentDimensions(layers=" in repr(found)


def test_rows_repeat_with_the_seed(fitted):
    flow, X = fitted
    one, two = (tangent_dimension(flow, X, layers=[40], max_points=4) for _ in range(2))
    np.testing.assert_array_equal(one.rows, two.rows)
    np.testing.assert_array_equal(one.dimensions, two.dimensions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": 0.0}, "noise must be positive"),
        ({"n_copies": 1}, "n_copies must be at least 2"),
        ({"max_points": 0}, "max_points must be at least 1"),
        ({"layers": [41]}, "layers"),
    ],
)
def test_bad_settings_are_refused(fitted, settings, message):
    with pytest.raises(ValueError, match=message):
        tangent_dimension(*fitted, **settings)


def test_points_that_coincide_are_refused(fitted):
    flow, X = fitted
    with pytest.raises(ValueError, match="X holds one point only"):
        tangent_dimension(flow, X[:1])
