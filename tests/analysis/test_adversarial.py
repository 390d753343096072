from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

import kflow
from kflow import kernels
from kflow.analysis import adversarial_distance, unflowed
from kflow.features import ImageEncoder
from kflow.presets import FIXED


def spirals(n=200, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.5, 2, n)
    y = np.arange(n) % 2
    angle = np.pi * (t + y)
    return np.stack([t * np.cos(angle), t * np.sin(angle)], axis=1), y


def three_classes(n=150, seed=0, spread=0.35):
    rng = np.random.default_rng(seed)
    labels = np.array(["low", "mid", "top"])[np.arange(n) % 3]
    centres = {"low": (0, 0), "mid": (1.4, 0), "top": (0, 1.4)}
    X = np.array([centres[label] for label in labels]) + spread * rng.normal(size=(n, 2))
    return X, labels


@pytest.fixture(scope="module", params=["float32", "float64"])
def fitted(request):
    X, y = three_classes()
    classifier = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 40,
            "nugget": 1.0,
            "step_size": 0.02,
            "interpolation_nugget": 0.1,
            "scaling": None,
            "dtype": request.param,
            "random_state": 0,
        }
    )
    return classifier.fit(X, y), X, y


def two_points(a, b, kernel=None):
    """Return a classifier that interpolates one point of each of two classes, without a flow."""
    X, y = np.array([a, b, a, b], float), [0, 1, 0, 1]
    return kflow.KernelFlowClassifier(
        kernel or kernels.Gaussian(1.0),
        n_layers=0,
        n_interpolation=2,
        scaling=None,
        dtype="float64",
        random_state=0,
    ).fit(X, y)


def nearest_change(classifier, x, radii, n_angles=300):
    """Return the smallest of the radii at which some direction of the plane changes the class."""
    angles = 2 * np.pi * np.arange(n_angles) / n_angles
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    around = x + radii[:, None, None] * circle
    own = classifier.predict(x[None])[0]
    changed = (classifier.predict(around.reshape(-1, 2)) != own).reshape(len(radii), n_angles)
    return radii[changed.any(axis=1).argmax()] if changed.any() else np.inf


def scores(classifier, x):
    """Return the interpolant's values at points that are not scaled."""
    return classifier.interpolant_(classifier.flow_.transform(x, reduced=True)).astype(float)


def naive_first_order(classifier, x, h):
    """Return the smallest margin over the length of its gradient, by differences."""
    values = scores(classifier, x[None])[0]
    own = values.argmax()
    gradients = np.stack(
        [
            (scores(classifier, (x + e)[None])[0] - scores(classifier, (x - e)[None])[0]) / (2 * h)
            for e in h * np.eye(len(x))
        ],
        axis=1,
    )
    return min(
        (values[own] - values[j]) / np.linalg.norm(gradients[own] - gradients[j])
        for j in range(len(values))
        if j != own
    )


# ---- where the answer is known ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel", [kernels.Gaussian(1.0), kernels.Matern52(2.0), kernels.Cauchy(1.5)]
)
def test_between_two_points_the_boundary_is_their_bisector(kernel, rng):
    a, b = np.array([1.0, 0.5, 0.0]), np.array([0.0, -0.5, 1.0])
    classifier = two_points(a, b, kernel)
    X = 0.5 * (a + b) + 0.5 * rng.normal(size=(40, 3))
    found = adversarial_distance(classifier, X)
    normal = (b - a) / np.linalg.norm(b - a)
    to_plane = (X - 0.5 * (a + b)) @ normal
    assert found.labels.tolist() == (to_plane > 0).astype(int).tolist()
    np.testing.assert_allclose(found.distances, np.abs(to_plane), rtol=3e-3)
    assert (found.distances >= np.abs(to_plane)).all()
    along = found.perturbations @ normal
    np.testing.assert_allclose(np.abs(along), found.distances, rtol=3e-3)
    assert (found.perturbed_labels == 1 - found.labels).all()


def test_distances_scale_with_the_data(rng):
    a, b = np.array([1.0, 0.5]), np.array([0.0, -0.5])
    X = rng.normal(size=(10, 2))
    distances = [
        adversarial_distance(two_points(s * a, s * b, kernels.Gaussian(s)), s * X).distances
        for s in (1.0, 2.0**20)
    ]
    np.testing.assert_allclose(distances[1], 2.0**20 * distances[0])


@pytest.mark.slow
@pytest.mark.parametrize("data", [three_classes, spirals])
def test_next_to_a_search_in_the_plane(data):
    X, y = data()
    after = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 40,
            "nugget": 0.1,
            "interpolation_nugget": 0.01,
            "scaling": None,
            "random_state": 0,
        }
    ).fit(X, y)
    radii = np.geomspace(0.003, 3.0, 300)
    for classifier in (unflowed(after, X, y), after):
        found = adversarial_distance(classifier, X, max_points=20)
        nearest = [nearest_change(classifier, X[row], radii) for row in found.rows]
        ratios = found.distances / nearest
        # The search has steps of 2.3 %, and sees nothing between its directions.
        assert (ratios > 0.97).all()
        assert np.median(ratios) < 1.01
        assert (ratios < 1.05).mean() > 0.9
        assert ratios.max() < 2.0


@pytest.mark.slow
def test_first_order_by_differences(fitted):
    classifier, X, _ = fitted
    found = adversarial_distance(classifier, X, max_points=10)
    h, rtol = (1e-6, 1e-4) if classifier.dtype == "float64" else (1e-2, 2e-2)
    expected = [naive_first_order(classifier, X[row], h) for row in found.rows]
    np.testing.assert_allclose(found.first_order, expected, rtol=rtol)


# ---- what is returned ---------------------------------------------------------------------------


@pytest.mark.slow
def test_perturbations_change_the_class_and_just_so(fitted):
    classifier, X, _ = fitted
    found = adversarial_distance(classifier, X, max_points=None)
    assert found.rows.tolist() == list(range(len(X)))
    assert (found.labels == classifier.predict(X)).all()
    fooled = classifier.predict(X + found.perturbations)
    assert (fooled == found.perturbed_labels).all()
    assert (fooled != found.labels).all()
    np.testing.assert_allclose(found.distances, np.linalg.norm(found.perturbations, axis=1))
    assert (classifier.predict(X + 0.99 * found.perturbations) == found.labels).all()
    np.testing.assert_allclose(found.norms, np.linalg.norm(X, axis=1), rtol=1e-6)
    assert (found.n_iterations >= 1).all()


@pytest.mark.slow
def test_misclassified_points_are_fooled_already(fitted):
    classifier, X, y = fitted
    wrong = classifier.predict(X) != y
    assert wrong.any()
    found = adversarial_distance(classifier, X, y, max_points=None)
    assert (found.labels == y).all()
    assert ((found.distances == 0) == wrong).all()
    assert ((found.first_order == 0) == wrong).all()
    assert not found.perturbations[wrong].any()
    assert (found.perturbed_labels != y).all()
    assert found.summary()["misclassified"] == wrong.sum()
    predicted = adversarial_distance(classifier, X, max_points=None)
    np.testing.assert_array_equal(found.distances[~wrong], predicted.distances[~wrong])


@pytest.mark.slow
def test_rows_are_drawn(fitted):
    classifier, X, _ = fitted
    found = adversarial_distance(classifier, X, max_points=12, random_state=4)
    assert len(found.rows) == len(np.unique(found.rows)) == 12
    again = adversarial_distance(classifier, X, max_points=12, random_state=4)
    np.testing.assert_array_equal(found.perturbations, again.perturbations)
    assert (found.labels == classifier.predict(X[found.rows])).all()


def test_images_of_norm_one(rng):
    X = np.abs(rng.normal(size=(80, 6))) * rng.uniform(1, 100, (80, 1))
    y = X[:, 0] > X[:, 1]
    classifier = kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 5, "scaling": "unit", "rank": 5, "random_state": 0}
    )
    classifier.fit(X, y)
    found = adversarial_distance(classifier, X, max_points=15)
    np.testing.assert_allclose(found.norms, 1.0, rtol=1e-6)
    scaled = classifier.scaling_(X)[found.rows] + found.perturbations
    points = classifier.flow_.transform(scaled, reduced=True)
    fooled = classifier.classes_[classifier.interpolant_(points).argmax(axis=1)]
    assert (fooled == found.perturbed_labels).all()
    assert (found.distances < 1.0).all()


@pytest.mark.slow
def test_refinement_and_other_points_only_shorten(fitted):
    classifier, X, _ = fitted
    plain = adversarial_distance(classifier, X, n_refinements=0, max_points=40)
    refined = adversarial_distance(classifier, X, max_points=40)
    assert (refined.distances <= plain.distances).all()
    assert refined.distances.mean() < 0.99 * plain.distances.mean()


@pytest.mark.slow
def test_flat_is_not_robust():
    # Collapsed classes: the gradient is nearly zero within them, but the boundary is where it was.
    X, y = three_classes(spread=0.15)
    classifier = kflow.KernelFlowClassifier(
        **{
            **FIXED,
            "n_layers": 150,
            "nugget": 1.0,
            "step_size": 0.03,
            "interpolation_nugget": 0.01,
            "scaling": None,
            "random_state": 0,
        }
    ).fit(X, y)
    before = adversarial_distance(unflowed(classifier, X, y), X, max_points=50)
    after = adversarial_distance(classifier, X, max_points=50)
    assert np.median(after.first_order) > 5 * np.median(after.distances)
    assert np.median(after.distances) < 1.5 * np.median(before.distances)


# ---- images, in the units of their pixels -------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline():
    digits = load_digits()
    X, y = digits.images[:300].astype(np.float32), digits.target[:300]
    flow = kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 6, "scaling": None, "interpolation_nugget": 0.1}, random_state=0
    )
    encoder = ImageEncoder(J=1, n_components=15)
    return kflow.make_image_pipeline(flow, encoder=encoder).fit(X, y), X, y


def test_images_are_fooled_through_an_encoder(pipeline):
    model, X, y = pipeline
    for each in (model, unflowed(model, X, y)):
        found = adversarial_distance(each, X, max_points=15)
        before = X[found.rows].reshape(15, -1).astype(float)
        np.testing.assert_allclose(found.norms, np.linalg.norm(before, axis=1))
        assert (found.labels == each.predict(before)).all()
        fooled = each.predict(before + found.perturbations)
        assert (fooled == found.perturbed_labels).all()
        assert (fooled != found.labels).all()
        assert (each.predict(before + 0.99 * found.perturbations) == found.labels).all()
        assert (found.distances < found.norms).all()
    again = adversarial_distance(model, X.reshape(300, -1), max_points=15)
    np.testing.assert_array_equal(
        again.distances, adversarial_distance(model, X, max_points=15).distances
    )


def test_small_steps_lead_as_near_as_any(pipeline):
    model, X, _ = pipeline
    steps = adversarial_distance(model, X, max_points=15, max_step=1.0)
    found = adversarial_distance(model, X, max_points=15)
    assert np.median(found.distances / steps.distances) < 1.05


def test_points_as_they_are_given():
    # The bisector of two points, in their own units, of which one is scaled away.
    X = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 0.01], [8.0, 0.01]])
    classifier = kflow.KernelFlowClassifier(
        kernels.Gaussian(1.0), n_layers=0, metric=None, nugget=0.1, interpolation_nugget=0.1
    ).fit(X, [0, 1, 0, 1])
    x = np.array([[1.0, 0.005], [7.0, 0.005]])
    found = adversarial_distance(classifier, x, space="input")
    np.testing.assert_allclose(found.distances, 3.0, rtol=3e-3)
    scaled = adversarial_distance(classifier, x)
    np.testing.assert_allclose(scaled.distances, 0.75, rtol=3e-3)


def test_images_of_norm_one_are_scaled_again(rng):
    X = np.abs(rng.normal(size=(80, 6))) * rng.uniform(1, 100, (80, 1))
    y = X[:, 0] > X[:, 1]
    settings = {**FIXED, "n_layers": 5, "scaling": "unit", "rank": 5}
    classifier = kflow.KernelFlowClassifier(**settings, random_state=0).fit(X, y)
    found = adversarial_distance(classifier, X, space="input", max_points=15)
    fooled = classifier.predict(X[found.rows] + found.perturbations)
    assert (fooled == found.perturbed_labels).all()
    assert (fooled != found.labels).all()
    # Boundaries are cones, as a length says nothing: the shortest way to one is perpendicular to it.
    ends = X[found.rows] + found.perturbations
    along = np.abs((found.perturbations * ends).sum(axis=1))
    assert np.median(along / (found.distances * np.linalg.norm(ends, axis=1))) < 0.03


def test_a_last_word_that_differs(pipeline, monkeypatch):
    model, X, _ = pipeline
    stubborn = model.predict(X[:5])
    monkeypatch.setattr(type(model.estimator), "predict", lambda _, points: stubborn[: len(points)])
    found = adversarial_distance(model, X[:5])
    assert np.isnan(found.distances).all()
    assert found.perturbed_labels.tolist() == found.labels.tolist()


def test_spaces_that_are_not_there(pipeline, fitted):
    model, X, _ = pipeline
    with pytest.raises(ValueError, match='space="scaled" is not for pipelines'):
        adversarial_distance(model, X, space="scaled")
    with pytest.raises(ValueError, match="space must be one of"):
        adversarial_distance(fitted[0], fitted[1], space="pixels")


# ---- where little can be found ------------------------------------------------------------------


def test_far_from_everything_there_is_no_gradient():
    classifier = two_points([0.0, 0.0], [1.0, 0.0])
    far = np.array([[1e3, 0.0]])
    found = adversarial_distance(classifier, far)
    assert np.isnan(found.distances).all()
    assert np.isnan(found.perturbations).all()
    assert np.isinf(found.first_order).all()
    assert (found.perturbed_labels == found.labels).all()
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["not_found"] == 1
    assert summary["median"] is None
    # With points of the other class there is a way.
    several = adversarial_distance(classifier, np.vstack([far, [[0.0, 0], [1, 0]]]))
    assert np.isfinite(several.distances).all()


def test_too_few_iterations():
    classifier = two_points([0.0, 0.0], [1.0, 0.0])
    x = np.array([[-0.3, 0.0]])
    few = adversarial_distance(classifier, x, max_step=0.1, max_iterations=3)
    assert np.isnan(few.distances).all()
    assert few.n_iterations.tolist() == [3]
    enough = adversarial_distance(classifier, x, max_step=0.1)
    np.testing.assert_allclose(enough.distances, 0.8, rtol=2e-3)
    assert 7 <= enough.n_iterations[0] <= 8


@pytest.mark.slow
def test_the_original_step(fitted):
    classifier, X, _ = fitted
    found = adversarial_distance(classifier, X, max_step=np.inf, overshoot=0.0, max_points=20)
    assert np.isfinite(found.distances).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((3, 4))}, "X must have 2 columns"),
        ({"X": [[np.nan, 0.0]]}, "X contains NaN"),
        ({"y": ["low"]}, "y must hold one label for each of 150 rows"),
        ({"y": np.full(150, "other")}, "'other', which the classifier does not know"),
        ({"overshoot": -0.1}, "overshoot must"),
        ({"max_step": 0.0}, "max_step must be positive"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"n_candidates": 0}, "n_candidates must be at least 1"),
        ({"n_refinements": -1}, "n_refinements must be at least 0"),
        ({"max_points": 0}, "max_points must be at least 1"),
    ],
)
def test_wrong_arguments(fitted, arguments, message):
    classifier, X, _ = fitted
    with pytest.raises((TypeError, ValueError), match=message):
        adversarial_distance(classifier, **{"X": X, **arguments})


def test_other_estimators(fitted):
    _, X, y = fitted
    with pytest.raises(
        TypeError, match="classifier must be a KernelFlowClassifier, got KernelFlow"
    ):
        adversarial_distance(fitted[0].flow_, X)
    with pytest.raises(NotFittedError):
        adversarial_distance(kflow.KernelFlowClassifier(), X, y)
