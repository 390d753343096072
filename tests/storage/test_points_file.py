from __future__ import annotations

import os

import numpy as np
import pytest

from kflow import ModelFileError
from kflow.storage.points_file import read_points, write_points


def some_arrays(rng, dtype):
    return {
        "points": rng.normal(size=(5, 3)).astype(dtype),
        "frozen": np.empty((5, 0), dtype),
        "turned": np.asfortranarray(rng.normal(size=(2, 4)).astype(dtype)),
    }


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, array in got.items():
        assert array.dtype == expected[name].dtype
        assert array.flags.writeable
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, expected[name])


def test_round_trip(rng, dtype, tmp_path):
    arrays = some_arrays(rng, dtype)
    size = write_points(tmp_path / "points", arrays, 40, "abc")
    assert (tmp_path / "points").stat().st_size == size
    for flow_id in ("abc", None):
        got, n_layers = read_points(tmp_path / "points", flow_id)
        assert_same(got, arrays)
        assert n_layers == 40
    write_points(str(tmp_path / "points"), {}, 0, "abc")
    assert read_points(tmp_path / "points", "abc") == ({}, 0)
    assert os.listdir(tmp_path) == ["points"]


def test_other_flow(rng, tmp_path):
    write_points(tmp_path / "points", some_arrays(rng, "float32"), 40, "abc")
    with pytest.raises(ModelFileError, match="points: its points belong to another flow"):
        read_points(tmp_path / "points", "def")


def test_damage(rng, tmp_path):
    path = tmp_path / "points"
    write_points(path, some_arrays(rng, "float32"), 40, "abc")
    raw = path.read_bytes()
    for place in range(0, len(raw), 3):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match="points"):
            read_points(path, "abc")
    for length in range(0, len(raw), 11):
        path.write_bytes(raw[:length])
        with pytest.raises(ModelFileError, match=r"points is damaged .*remove it"):
            read_points(path)


@pytest.mark.parametrize(
    ("array", "n_layers"),
    [(np.array([np.nan]), 1), (np.array([1]), 1), (np.array([1.0]), -1), (np.ones(1, "f2"), 1)],
)
def test_what_are_no_points(tmp_path, array, n_layers):
    write_points(tmp_path / "points", {"x": array}, n_layers, "abc")
    with pytest.raises(ModelFileError, match="points is damaged or foreign"):
        read_points(tmp_path / "points")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_points(tmp_path / "none")
