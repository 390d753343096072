from __future__ import annotations

import numpy as np
import pytest

from kflow.features.filters import make_filters, map_shape, padded_side


@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_sides_are_multiples_with_room_around(padding):
    for J in (1, 2, 3):
        for size in range(2**J, 40):
            side = padded_side(size, J, padding)
            assert side % 2**J == 0
            assert size + 2**J <= side <= size + 2 * 2**J + 1


def test_where_padded_pixels_come_from():
    zero = make_filters((5, 6), 1, 2, 2, "zero", "float64")
    assert zero.row_of == [-1, 0, 1, 2, 3, 4, -1, -1]
    assert zero.col_of == [-1, 0, 1, 2, 3, 4, 5, -1]
    mirrored = make_filters((5, 6), 1, 2, 2, "reflect", "float64")
    assert mirrored.row_of == [1, 0, 1, 2, 3, 4, 3, 2]
    assert mirrored.col_of == [2, 1, 0, 1, 2, 3, 4, 5, 4, 3]


def test_wavelets_do_not_see_constants_and_smoothing_keeps_them():
    filters = make_filters((12, 20), 3, 6, 2, "zero", "float64")
    for waves in filters.waves:
        assert np.abs(waves[:, 0, 0]).max(initial=0.0) < 1e-12
    for matrix in (*filters.smooth_rows, *filters.smooth_cols):
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


def test_a_wavelet_turned_by_a_right_angle_is_its_transpose():
    waves = make_filters((16, 16), 2, 4, 2, "zero", "float64").waves[0]
    along = -np.arange(len(waves[0])) % len(waves[0])  # angles of -90 and 0 degrees
    np.testing.assert_allclose(waves[3], waves[1].T[:, along], atol=1e-12)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize(("J", "L", "max_order"), [(1, 1, 1), (1, 2, 2), (2, 3, 2), (3, 2, 1)])
def test_the_shape_of_features_is_known_without_filters(J, L, max_order, padding):
    for shape in ((8, 8), (9, 15), (8, 21)):
        filters = make_filters(shape, J, L, max_order, padding, "float64")
        known = map_shape(shape, J, L, max_order, padding)
        assert known == (filters.n_channels, *filters.out)
