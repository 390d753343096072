from __future__ import annotations

import json

import numpy as np
import pytest

import kflow
from kflow import kernels
from kflow.analysis import adversarial_distance, certified_radius, unflowed
from kflow.analysis.certificates import CertifiedRadii

SETTINGS = {
    "metric": None,
    "nugget": 0.5,
    "step_size": 0.05,
    "interpolation_nugget": 1.0,
    "random_state": 0,
    "n_threads": 1,
}
SMOOTH = [
    kernels.Gaussian(1.0),
    kernels.RationalQuadratic(1.0, alpha=2.0),
    kernels.InverseMultiquadric(1.0),
    kernels.Cauchy(1.3),
]


def blobs(n=150, d=2, seed=0, n_classes=3):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    centres = 2.0 * rng.normal(size=(n_classes, d))
    return centres[y] + 0.5 * rng.normal(size=(n, d)), y


def fitted(kernel=None, n_layers=3, d=2, **settings):
    X, y = blobs(d=d)
    kernel = kernels.Gaussian(1.0) if kernel is None else kernel
    classifier = kflow.KernelFlowClassifier(
        kernel, n_layers=n_layers, batch_size=60, **{**SETTINGS, **settings}
    )
    return classifier.fit(X, y), X, y


def scaled_labels(classifier, points):
    """Return the classes of scaled points, as the classifier computes them."""
    moved = classifier.flow_.transform(points, reduced=True)
    return classifier.classes_[classifier.interpolant_(moved).argmax(axis=1)]


def sphere(centre, radius, n, rng):
    directions = rng.normal(size=(n, len(centre)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return centre + radius * directions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", SMOOTH, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("n_layers", [0, 3])
def test_no_point_of_the_ball_is_of_another_class(kernel, dtype, n_layers):
    classifier, X, _ = fitted(kernel, n_layers, dtype=dtype)
    rng = np.random.default_rng(1)
    found = certified_radius(classifier, X, max_points=15)
    assert (found.radii > 0.0).sum() >= 10
    for row, label, radius in zip(found.rows, found.labels, found.radii, strict=True):
        x = classifier.scaling_(X[[row]])[0].astype(float)
        # 1e-6 of the radius is left for the rounding of the points of the sphere.
        near = sphere(x, radius * (1.0 - 1e-6), 500, rng)
        assert (scaled_labels(classifier, near) == label).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_below_the_distance_to_the_boundary_by_search(dtype, order):
    classifier, X, y = fitted(dtype=dtype)
    found = certified_radius(classifier, X, y, order=order, max_points=8)
    angles = np.linspace(0.0, 2.0 * np.pi, 90, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for row, label, radius in zip(found.rows, found.labels, found.radii, strict=True):
        x = classifier.scaling_(X[[row]])[0].astype(float)
        steps = np.linspace(0.0, 2.0, 101)
        points = (x + steps[:, None, None] * circle).reshape(-1, 2)
        changed = (scaled_labels(classifier, points) != label).reshape(len(steps), -1)
        if changed.any():
            assert radius <= steps[np.flatnonzero(changed.any(axis=1))[0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_never_above_an_attack(dtype):
    classifier, X, y = fitted(n_layers=2, d=5, dtype=dtype, scaling="unit")
    models = {
        "flow": classifier,
        "unflowed": unflowed(classifier, X, y),
        "compressed": kflow.compress(classifier, X, n_layers=1, random_state=0).estimator,
    }
    for model in models.values():
        certified = certified_radius(model, X, y, max_points=25)
        found = adversarial_distance(model, X, y, max_points=25)
        np.testing.assert_array_equal(certified.rows, found.rows)
        assert (certified.radii[found.distances == 0.0] == 0.0).all()
        assert not (certified.radii > found.distances).any()
        assert certified.radii.max() > 0.1 * np.nanmax(found.distances)


def test_an_interpolant_by_the_formula():
    X, y = blobs(n_classes=2)
    classifier = kflow.KernelFlowClassifier(
        kernels.Gaussian(1.0), n_layers=0, **SETTINGS, scaling=None
    ).fit(X, y)
    z, c = classifier.interpolant_.centres, classifier.interpolant_.coefficients

    def margin(x, label):
        values = np.exp(-0.5 * ((x - z) ** 2).sum(axis=1)) @ c
        return values[label] - values[1 - label]

    weights = c[:, 0] - c[:, 1]
    norm = np.sqrt(weights @ kernels.Gaussian(1.0)(z) @ weights)
    h, units = 1e-4, np.eye(2)
    found = certified_radius(classifier, X, y, max_points=20)
    for row, label, radius in zip(found.rows, found.labels, found.radii, strict=True):
        x = X[row]
        m = margin(x, label)
        if m <= 0.0:
            assert radius == 0.0
            continue
        slope = np.array([margin(x + h * e, label) - margin(x - h * e, label) for e in units])
        bend = np.array(
            [
                [
                    sum(
                        a * b * margin(x + h * (a * e + b * f), label)
                        for a in (1, -1)
                        for b in (1, -1)
                    )
                    for f in units
                ]
                for e in units
            ]
        ) / (4 * h**2)
        smallest = min(np.linalg.eigvalsh(bend)[0], 0.0)
        # The third derivative of a function of norm 1 is at most (15 / l^6)^1/2.
        third = -np.sqrt(15.0) * norm / 6.0
        roots = np.roots([third, 0.5 * smallest, -np.linalg.norm(slope) / (2 * h), m])
        second = min(root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0.0)
        bent = -0.5 * np.sqrt(3.0) * norm
        first = max(np.roots([bent, -np.linalg.norm(slope) / (2 * h), m]))
        expected = max(first, second, m / norm)
        assert radius == pytest.approx(expected, rel=1e-4)


def test_near_a_boundary_radii_are_distances():
    classifier, X, _ = fitted(n_layers=1, dtype="float64")
    found = adversarial_distance(classifier, X, max_points=10)
    ends = classifier.scaling_(X)[found.rows] + 0.99 * found.perturbations
    near = adversarial_distance(classifier, to_inputs(classifier, ends))
    certified = certified_radius(classifier, to_inputs(classifier, ends))
    right = near.labels == found.labels
    ratio = certified.radii[right] / near.distances[right]
    assert right.sum() >= 8
    assert np.median(ratio) > 0.9
    assert (ratio <= 1.0).all()


def to_inputs(classifier, points):
    """Return the unscaled points of scaled ones, of a standard scaling."""
    zero, one = classifier.scaling_(np.array([[0.0, 0.0], [1.0, 1.0]]))
    return (points - zero) / (one - zero)


def test_higher_orders_certify_more():
    classifier, X, y = fitted(n_layers=4, dtype="float64")
    radii = [
        certified_radius(classifier, X, y, order=order, max_points=25).radii for order in (0, 1, 2)
    ]
    assert (radii[0] <= radii[1]).all()
    assert (radii[1] <= radii[2]).all()
    assert np.median(radii[2]) > 1.5 * np.median(radii[0])


def test_float32_costs_something():
    X, y = blobs(d=5)
    radii = {}
    for dtype in ("float32", "float64"):
        classifier = fitted(n_layers=2, d=5, dtype=dtype)[0]
        radii[dtype] = certified_radius(classifier, X, y, max_points=25).radii
    assert (radii["float32"] < radii["float64"] + 1e-4).all()
    assert np.median(radii["float32"]) > 0.5 * np.median(radii["float64"])


def test_in_a_subspace():
    rng = np.random.default_rng(2)
    X, y = blobs(d=8)
    X[:, 5:] *= 0.05
    settings = {**SETTINGS, "scaling": None, "dtype": "float64", "rank": 4, "batch_size": 60}
    classifier = kflow.KernelFlowClassifier(kernels.Gaussian(2.0), n_layers=3, **settings)
    classifier.fit(X, y)
    found = certified_radius(classifier, X, max_points=10)
    assert (found.radii > 0.05).sum() >= 5
    for row, label, radius in zip(found.rows, found.labels, found.radii, strict=True):
        near = sphere(X[row], radius * (1.0 - 1e-9), 500, rng)
        assert (classifier.predict(near) == label).all()


def test_misclassified_points_have_no_radius():
    classifier, X, _ = fitted()
    wrong = (classifier.predict(X) + 1) % 3
    found = certified_radius(classifier, X, wrong, max_points=None)
    assert (found.radii == 0.0).all()
    assert (found.margins < 0.0).all()
    assert found.rows.tolist() == list(range(len(X)))
    np.testing.assert_array_equal(found.labels, wrong)


def test_one_point_of_one_column():
    X = np.array([[0.0], [0.2], [1.0], [1.2]])
    classifier = kflow.KernelFlowClassifier(
        kernels.Gaussian(0.5), n_layers=0, **SETTINGS, scaling=None
    ).fit(X, [0, 0, 1, 1])
    found = certified_radius(classifier, [[0.1]], [0])
    assert 0.1 < found.radii[0] < 0.5  # the boundary is at 0.6


def test_the_result():
    found = CertifiedRadii(
        np.arange(4), np.zeros(4), np.array([0.0, 0.1, 0.2, 0.3]), np.ones(4), np.ones(4)
    )
    assert found.share(0.15) == 0.5
    np.testing.assert_array_equal(found.share([0.0, 0.3]), [0.75, 0.0])
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["zero"] == 1
    assert summary["median"] == pytest.approx(0.15)
    assert "median" in repr(found)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": 3}, ValueError, "order must be 0, 1 or 2, got 3"),
        ({"order": "first"}, TypeError, "order"),
        ({"X": np.zeros((3, 4))}, ValueError, "X must have 2 columns"),
        ({"X": [[np.nan, 0.0]]}, ValueError, "X contains NaN"),
        ({"y": [0]}, ValueError, "y must hold one label"),
        ({"y": [7] * 150}, ValueError, "does not know"),
        ({"max_points": 0}, ValueError, "max_points must be at least 1"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    classifier, X, _ = fitted(n_layers=1)
    with pytest.raises(error, match=message):
        certified_radius(classifier, **{"X": X, **arguments})


def test_what_has_no_bounds():
    classifier, X, y = fitted(kernels.Laplacian(1.0), n_layers=1)
    with pytest.raises(
        TypeError, match="Gaussian, RationalQuadratic, InverseMultiquadric or Cauchy"
    ):
        certified_radius(classifier, X)
    X, y = blobs(d=8)
    X[:, 3:] *= 0.01
    classifier = kflow.KernelFlowClassifier(
        n_layers=10, rank=8, shrink_every=2, shrink_tolerance=0.05, batch_size=60, **SETTINGS
    ).set_params(kernel=None, scaling=None)
    classifier.fit(X, y)
    with pytest.raises(ValueError, match="shrink_every=0"):
        certified_radius(classifier, X)
    encoder = kflow.features.ImageEncoder(J=1, n_components=2)
    pipeline = kflow.make_image_pipeline(
        kflow.KernelFlowClassifier(kernel=None, n_layers=0, **SETTINGS), encoder=encoder
    )
    images = np.random.default_rng(0).uniform(size=(20, 8, 8))
    pipeline.fit(images, np.arange(20) % 2)
    with pytest.raises(TypeError, match="pass the pipeline's estimator"):
        certified_radius(pipeline, images)
