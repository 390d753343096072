from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from kflow.features import Augmentation


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 7, 6))


def rows_of(augmentation, X, shape=None):
    """All rows that the chunks cover, which must be every row once."""
    found = {}
    for rows, images in augmentation.chunks(X, shape):
        found.update(zip(range(rows.start, rows.stop), images, strict=True))
    assert sorted(found) == list(range(len(X) * (augmentation.n_copies + 1)))
    return np.stack([found[row] for row in sorted(found)])


def test_shifts_come_nearest_first_and_none_twice(images):
    augmentation = Augmentation(8, shift=1)
    moved = [augmentation.copy_of(images, k) for k in range(9)]
    np.testing.assert_array_equal(moved[0], images)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    windows = {
        (down, right): padded[:, 1 - down : 8 - down, 1 - right : 7 - right]
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    seen = [
        next(move for move, window in windows.items() if np.array_equal(window, copy))
        for copy in moved
    ]
    assert len(set(seen)) == 9
    distances = [down**2 + right**2 for down, right in seen]
    assert distances == sorted(distances)


def test_the_first_copy_is_the_mirror_image(images):
    colours = np.random.default_rng(1).random((3, 4, 5, 3)).astype(np.float32)
    augmentation = Augmentation(3, mirror=True, shift=1, padding="reflect")
    for X in (images, colours):
        copy = augmentation.copy_of(X, 1)
        np.testing.assert_array_equal(copy, X[:, :, ::-1])
        assert copy.dtype == X.dtype
    shifted = augmentation.copy_of(colours, 2)
    padded = np.pad(colours, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    assert any(
        np.array_equal(shifted, padded[:, 1 - down : 5 - down, 1 - right : 6 - right])
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
    )


def test_a_turn_by_a_known_angle(images):
    augmentation = Augmentation(1, rotation=30.0)
    positions = augmentation._positions((7, 6), [1, 0])
    centre = np.array([3.0, 2.5])[:, None, None]
    before = np.indices((7, 6)) - centre
    np.testing.assert_allclose(np.hypot(*(positions - centre)), np.hypot(*before), atol=1e-12)
    turned = augmentation.copy_of(images, 1)
    slow = ndimage.map_coordinates(images[0], positions, order=3, mode="constant")
    np.testing.assert_allclose(turned[0], slow)


def test_a_deformation_has_the_size_that_it_is_given():
    augmentation = Augmentation(1, elastic=0.7, elastic_length=3.0)
    grid = np.indices((32, 32))
    moved = [augmentation._positions((32, 32), [1, row]) - grid for row in range(100)]
    assert np.std(moved) == pytest.approx(0.7, rel=0.05)
    assert np.abs(np.mean(moved)) < 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_are_those_of_one_array(dtype, monkeypatch):
    X = np.random.default_rng(2).random((11, 6, 6)).astype(dtype)
    augmentation = Augmentation(3, shift=1, mirror=True, rotation=9.0, elastic=0.5)
    before = X.copy()
    whole = rows_of(augmentation, X)
    monkeypatch.setattr("kflow.features.images._CHUNK_FEATURES", 4 * 36 * 3)
    np.testing.assert_array_equal(rows_of(augmentation, X), whole)
    np.testing.assert_array_equal(rows_of(augmentation, X.reshape(11, 36), (6, 6)), whole)
    np.testing.assert_array_equal(X, before)
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole[:11], X.reshape(11, 36))
    for k in range(4):
        copy = augmentation.copy_of(X, k).reshape(11, 36)
        np.testing.assert_array_equal(whole[11 * k : 11 * (k + 1)], copy)


def test_other_seeds_turn_otherwise_and_same_turns_all_alike(images):
    turned = [
        Augmentation(1, rotation=20.0, random_state=seed).copy_of(images, 1) for seed in (0, 1)
    ]
    assert not np.allclose(*turned)
    augmentation = Augmentation(1, rotation=20.0)
    alike = augmentation.copy_of(images, 1, same=True)
    for image, copy in zip(images, alike, strict=True):
        np.testing.assert_array_equal(augmentation.copy_of(image[None], 1, same=True)[0], copy)


def test_a_file_that_is_mapped_is_read_in_chunks(tmp_path):
    X = np.random.default_rng(3).integers(0, 256, (9, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "X.npy", X)
    augmentation = Augmentation(1, mirror=True)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(rows_of(augmentation, mapped), rows_of(augmentation, X))


def test_no_images_and_no_copies():
    empty = np.empty((0, 4, 4))
    assert list(Augmentation(2, shift=1).chunks(empty)) == []
    one = np.ones((1, 1, 1))
    np.testing.assert_array_equal(rows_of(Augmentation(0), one), one.reshape(1, 1))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_copies": 1}, "only 0 different copies"),
        ({"n_copies": 9, "shift": 1}, "only 8 different copies"),
        ({"n_copies": 2, "mirror": True}, "only 1 different copies"),
        ({"n_copies": -1}, "n_copies must be at least 0"),
        ({"shift": -1}, "shift must be at least 0"),
        ({"rotation": np.nan}, "rotation must be finite"),
        ({"elastic": -1.0}, "elastic must be finite and not negative"),
        ({"elastic": 1.0, "elastic_length": 0.0}, "elastic_length must be positive"),
        ({"padding": "wrap", "mirror": True}, "padding must be one of"),
    ],
)
def test_parameters_that_cannot_be(parameters, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**parameters)


def test_parameters_of_another_kind():
    with pytest.raises(TypeError, match="mirror must be True or False"):
        Augmentation(mirror=1)
    with pytest.raises(TypeError, match="n_copies must be a whole number"):
        Augmentation(1.5, shift=1)


def test_images_that_cannot_be(images):
    with pytest.raises(ValueError, match="shift is 6, but images have 7 x 6 pixels"):
        Augmentation(1, shift=6).copy_of(images, 1)
    with pytest.raises(ValueError, match="there are 1 copies"):
        Augmentation(1, mirror=True).copy_of(images, 2)
    images[2, 3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        Augmentation(1, mirror=True).copy_of(images, 1)


def test_to_and_from_json_data():
    augmentation = Augmentation(np.int64(3), shift=1, rotation=np.float32(2.5))
    assert Augmentation.from_dict(augmentation.to_dict()) == augmentation
    assert type(augmentation.to_dict()["n_copies"]) is int
    with pytest.raises(ValueError, match="has no"):
        Augmentation.from_dict({"zoom": 2})
