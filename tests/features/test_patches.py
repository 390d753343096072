from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kflow.features import Patches


def slow(patches, X):
    """The features by their definition, patch by patch."""
    height, width = patches.image_shape_[:2]
    size, (_, n_cells, _) = patches.size, patches.map_shape_
    variance_floor, length_floor = patches.floors_
    rows, columns = height - size + 1, width - size + 1
    out = np.zeros((len(X), *patches.map_shape_))
    for i, image in enumerate(X.reshape(len(X), height, width, -1)):
        counts = np.zeros((n_cells, n_cells))
        for row in range(rows):
            for column in range(columns):
                p = image[row : row + size, column : column + size].transpose(2, 0, 1).reshape(-1)
                p = (p - p.mean()) / np.sqrt(p.var() + variance_floor)
                w = patches.whitening_ @ (p - patches.mean_)
                z = patches.filters_ @ (w / np.sqrt(w @ w + length_floor))
                cell = tuple(
                    next(c for c in range(n_cells) if place < round((c + 1) * n / n_cells))
                    for place, n in ((row, rows), (column, columns))
                )
                both = np.concatenate([z - patches.threshold, -z - patches.threshold])
                out[(i, slice(None), *cell)] += np.maximum(both, 0.0)
                counts[cell] += 1
        out[i] /= counts
    return out.reshape(len(X), -1)


@pytest.fixture(params=[(9, 7), (8, 8, 3)])
def images(request, rng):
    return rng.random((12, *request.param))


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_definition(images, dtype, atol):
    X = images.astype(dtype)
    patches = Patches(6, size=3, n_cells=3).fit(X)
    features = patches.transform(X)
    assert features.dtype == dtype
    np.testing.assert_allclose(features, slow(patches, images), atol=atol)
    assert patches.map_shape_ == (12, 3, 3)
    assert len(patches.get_feature_names_out()) == features.shape[1] == 108
    np.testing.assert_allclose(np.linalg.norm(patches.filters_, axis=1), 1.0)


def test_whitened_patches_are_white(rng):
    X = np.cumsum(rng.normal(size=(200, 10, 10)), axis=2)
    patches = Patches(4, size=3, regularisation=1e-9, n_cells=2).fit(X)
    windows = np.lib.stride_tricks.sliding_window_view(X, (3, 3), axis=(1, 2)).reshape(-1, 9)
    variances = windows.var(axis=1)
    floor = patches.floors_[0]
    assert floor == pytest.approx(0.01 * variances.mean())
    P = windows - windows.mean(axis=1, keepdims=True)
    P = (P / np.sqrt(variances + floor)[:, None])[variances > floor]
    values = np.linalg.eigvalsh(np.cov(((P - patches.mean_) @ patches.whitening_).T))
    np.testing.assert_allclose(values[1:], 1.0, rtol=1e-2)  # the mean of a patch is gone
    assert values[0] < 1e-2


def test_gradients(images, rng):
    patches = Patches(6, size=3, n_cells=2).fit(images)
    along = rng.random(images.shape)
    A = rng.normal(size=(len(images), patches.transform(images).shape[1]))
    h = 1e-6
    ahead, behind = (patches.transform(images + by * along) for by in (h, -h))
    expected = (A * (ahead - behind)).sum(axis=1) / (2 * h)
    got = (patches.pull_back(images, A) * along.reshape(len(images), -1)).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_threads_and_other_images_change_nothing(images):
    one, two = (Patches(5, size=3, n_cells=2, n_threads=n).fit(images) for n in (1, 2))
    before = images.copy()
    np.testing.assert_array_equal(one.transform(images), two.transform(images))
    np.testing.assert_array_equal(one.transform(images)[4:5], one.transform(images[4:5]))
    A = np.ones((len(images), 40))
    np.testing.assert_array_equal(one.pull_back(images, A), two.pull_back(images, A))
    np.testing.assert_array_equal(images, before)


def test_contrast_and_brightness_hardly_count(rng):
    X = rng.random((20, 8, 8))
    patches = Patches(8, size=4, n_cells=2).fit(X)
    features = patches.transform(X)
    np.testing.assert_allclose(patches.transform(X + 5.0), features, atol=1e-10)
    np.testing.assert_allclose(patches.transform(2.0 * X), features, atol=0.05)


def test_filters_are_no_blank_patches(rng):
    X = np.zeros((40, 12, 12))
    X[:, 4:8, 4:8] = rng.random((40, 4, 4))
    patches = Patches(16, size=3, n_cells=2).fit(X)
    assert np.isfinite(patches.transform(np.zeros((1, 12, 12)))).all()
    assert len(np.unique(patches.filters_.round(8), axis=0)) == 16
    with pytest.raises(ValueError, match="no patches with contrast"):
        Patches(2, size=3).fit(np.ones((4, 8, 8)))


def test_few_images_have_few_patches(rng):
    X = rng.random((1, 4, 4))
    assert Patches(9, size=2, n_cells=1).fit(X).transform(X).shape == (1, 18)
    with pytest.raises(ValueError, match="n_filters is 10, but there are only 9"):
        Patches(10, size=2, n_cells=1).fit(X)


def test_refusals(images):
    with pytest.raises(NotFittedError):
        Patches().transform(images)
    with pytest.raises(ValueError, match="X is empty"):
        Patches(2, size=2).fit(images[:0])
    with pytest.raises(ValueError, match="too small for patches of size 6 in 4 x 4 cells"):
        Patches().fit(images)
    for name, wrong in (("n_filters", 0), ("size", 0), ("n_cells", 0), ("threshold", -1.0)):
        with pytest.raises(ValueError, match=name):
            Patches(**{"n_filters": 2, "size": 3, name: wrong}).fit(images)
    with pytest.raises(ValueError, match="regularisation must be positive"):
        Patches(2, size=3, regularisation=0.0).fit(images)
    patches = Patches(2, size=3).fit(images)
    with pytest.raises(ValueError, match="covectors must have shape"):
        patches.pull_back(images, np.ones((len(images), 3)))


def test_copies(images):
    patches = Patches(3, size=3, n_cells=2).fit(images)
    again = pickle.loads(pickle.dumps(patches))
    np.testing.assert_array_equal(again.transform(images), patches.transform(images))
    assert clone(patches).get_params() == patches.get_params()
    same = clone(patches)
    learned = (patches.mean_, patches.whitening_, patches.filters_)
    same.set_learned(patches.image_shape_, *learned, floors=patches.floors_)
    np.testing.assert_array_equal(same.transform(images), patches.transform(images))
    for part in range(3):
        wrong = [array[1:] if k == part else array for k, array in enumerate(learned)]
        with pytest.raises(ValueError, match=r"do(es)? not fit"):
            same.set_learned(patches.image_shape_, *wrong, floors=patches.floors_)
