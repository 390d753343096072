from __future__ import annotations

import numpy as np
import pytest

from kflow.datasets import ImageManifolds, letter_images

# ---- letters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["T", "L"])
def test_a_letter_is_a_plane(letter):
    X = letter_images(30, letter, random_state=0)
    assert X.shape == (30, 100)
    assert np.linalg.matrix_rank(X) == 2
    assert X.min() == 0.0
    assert 0.9 < X.max() < 1.0


def test_a_letter_looks_like_it():
    (image,) = letter_images(1, random_state=0) > 0.0
    rows = ["".join(" #"[int(on)] for on in row).rstrip() for row in image.reshape(10, 10)]
    assert rows == ["", " ########", " ########", *["    ##"] * 6, ""]


def test_other_letters_are_refused():
    with pytest.raises(ValueError, match="letter must be one of"):
        letter_images(3, "X")
    with pytest.raises(ValueError, match="n must be at least 1"):
        letter_images(0)


# ---- manifolds ------------------------------------------------------------------------------------


@pytest.fixture
def manifolds():
    return ImageManifolds(
        (6, 8), 3, dimension=5, curvature=2.0, overlap=0.4, distance=3.0, random_state=0
    )


def test_directions_are_orthonormal_and_shared(manifolds):
    for tangents, normals in zip(manifolds.tangents, manifolds.normals, strict=True):
        both = np.vstack([tangents, normals])
        np.testing.assert_allclose(both @ both.T, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(manifolds.tangents[0, :2], manifolds.tangents[1, :2], atol=1e-12)
    assert np.abs(manifolds.tangents[0, 2:] - manifolds.tangents[1, 2:]).max() > 0.1


def test_centres_have_the_distance(manifolds):
    centres = manifolds.centres
    distances = np.linalg.norm(centres[:, None] - centres, axis=2)
    np.testing.assert_allclose(distances, 3.0 * (1.0 - np.eye(3)), atol=1e-12)
    np.testing.assert_allclose(centres.mean(axis=0), 0.0, atol=1e-12)


def test_a_part_of_the_distance_lies_along_common_tangents():
    manifolds = ImageManifolds(
        (6, 8), 2, dimension=5, overlap=0.8, distance=3.0, tangential=0.75, random_state=0
    )
    way = manifolds.centres[1] - manifolds.centres[0]
    np.testing.assert_allclose(way @ way, 9.0)
    along = manifolds.tangents[0, :4] @ way
    np.testing.assert_allclose(along @ along, 0.75 * 9.0)
    with pytest.raises(ValueError, match="needs 2 common tangents"):
        ImageManifolds((6, 8), 2, dimension=5, overlap=0.2, tangential=0.5)


def test_derivatives_at_the_centre_are_tangents_and_curvature(manifolds):
    """Central differences along each direction in which the manifold bends."""
    step = 1e-3
    for bend in np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]:
        ahead, here, behind = manifolds.images(1, [step * bend, 0.0 * bend, -step * bend])
        first, second = (ahead - behind) / (2.0 * step), (ahead - 2.0 * here + behind) / step**2
        np.testing.assert_allclose(first, bend @ manifolds.tangents[1], atol=1e-5)
        np.testing.assert_allclose(manifolds.tangents[1] @ second, 0.0, atol=1e-6)
        weights = manifolds.normals[1] @ second
        # Each bends towards a normal of its own: the squares of the bend's parts add up to 1.
        np.testing.assert_allclose(weights.sum(), 2.0, rtol=1e-5)


def test_images_are_centred_and_have_the_variances():
    manifolds = ImageManifolds(
        (6, 8), 1, dimension=4, curvature=1.5, decay=1.0, noise=0.3, random_state=0
    )
    np.testing.assert_allclose((manifolds.deviations**2).sum(), 1.0)
    X, y = manifolds.draw(20000, random_state=1)
    assert (y == 0).all()
    np.testing.assert_allclose(X.mean(axis=0), 0.0, atol=0.02)
    variances = (X @ manifolds.tangents[0].T).var(axis=0)
    noise = 0.3**2 / 48
    np.testing.assert_allclose(variances, manifolds.deviations**2 + noise, rtol=0.05)
    assert (np.diff(manifolds.deviations) < 0.0).all()


def test_the_manifold_has_no_mirror_image():
    manifolds = ImageManifolds((6, 8), 1, dimension=3, curvature=3.0, random_state=0)
    X, _ = manifolds.draw(20000, random_state=1)
    skewness = ((X @ manifolds.normals[0].T) ** 3).mean(axis=0)
    assert (skewness > 0.0).all()


def test_without_curvature_a_category_is_a_plane():
    manifolds = ImageManifolds((6, 8), 2, dimension=3, curvature=0.0, overlap=1.0, random_state=0)
    X, y = manifolds.draw(40, random_state=1)
    assert np.linalg.matrix_rank(X) == 3  # the same plane for both, as the distance is 0
    np.testing.assert_array_equal(y[:4], [0, 1, 0, 1])


def test_draws_repeat_and_depend_on_the_seed(manifolds):
    np.testing.assert_array_equal(manifolds.draw(5, 3)[0], manifolds.draw(5, 3)[0])
    assert not np.array_equal(manifolds.draw(5, 3)[0], manifolds.draw(5, 4)[0])
    assert manifolds.draw(1, 0)[1].tolist() == [0]


def test_the_smallest_and_the_largest_dimension():
    for dimension in (1, 24):
        manifolds = ImageManifolds((6, 8), 2, dimension=dimension, random_state=0)
        assert manifolds.draw(3, 0)[0].shape == (3, 48)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"image_shape": 6}, TypeError, "image_shape must be two"),
        ({"image_shape": (0, 6)}, ValueError, r"image_shape\[0\] must be at least 1"),
        ({"dimension": 25}, ValueError, "dimension must be at most 24"),
        ({"n_classes": 0}, ValueError, "n_classes must be at least 1"),
        ({"curvature": -1.0}, ValueError, "curvature must be finite and not negative"),
        ({"tangential": -0.5}, ValueError, "tangential must be finite and not negative"),
        ({"n_classes": 25}, ValueError, "n_classes must be at most 24"),
        ({"overlap": 1.5}, ValueError, "overlap must be between 0 and 1"),
        ({"distance": np.nan}, ValueError, "distance must be finite"),
        ({"noise": -1.0}, ValueError, "noise must be finite and not negative"),
        ({"decay": "fast"}, TypeError, "decay must be a number"),
    ],
)
def test_bad_settings_are_refused(settings, kind, message):
    with pytest.raises(kind, match=message):
        ImageManifolds(**{"image_shape": (6, 8), "dimension": 4, **settings})


def test_bad_coordinates_are_refused(manifolds):
    with pytest.raises(ValueError, match="category must be at most 2"):
        manifolds.images(3, np.zeros((1, 5)))
    with pytest.raises(ValueError, match="coordinates"):
        manifolds.images(0, np.zeros((1, 4)))
