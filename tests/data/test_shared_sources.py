from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from kflow.data.shared_sources import shared_source
from kflow.data.sources import FileSource, as_source

X = np.random.default_rng(0).normal(size=(40, 3))


def as_map(folder):
    X.tofile(folder / "X.bin")
    return np.memmap(folder / "X.bin", np.float64, "r", shape=X.shape)


def as_npy(folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def as_hdf5(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "X.h5", "w") as file:
        file["X"] = X
    return h5py.File(folder / "X.h5", "r")["X"]


def as_zarr(folder):
    zarr = pytest.importorskip("zarr")
    array = zarr.open(str(folder / "X.zarr"), mode="w", shape=X.shape, chunks=(7, 3), dtype="f8")
    array[:] = X
    return array


@pytest.mark.slow
@pytest.mark.parametrize("made", [as_map, as_npy, as_hdf5, as_zarr])
def test_a_copy_of_the_source_opens_the_same_rows(made, tmp_path, dtype):
    array = made(tmp_path)
    shared = shared_source(as_source(array, dtype, "X"))
    sent = pickle.dumps(shared)
    assert len(sent) < 2000  # no rows in it
    source = pickle.loads(sent).open()
    assert source.shape == X.shape
    np.testing.assert_array_equal(source[5:30], X[5:30].astype(dtype))
    if hasattr(array, "file"):
        array.file.close()


def test_of_a_spooled_file(tmp_path):
    X.tofile(tmp_path / "X.bin")
    source = FileSource(tmp_path / "X.bin", X.shape, X.dtype, "X")
    source[:10]  # a copy sends nothing that was read
    sent = pickle.dumps(shared_source(source))
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).open()[30:], X[30:])


def test_arrays_in_memory_and_parts_of_maps_are_nobody_elses(tmp_path):
    array = as_map(tmp_path)
    for mine in (X, array[3:], array[:, :2], array.T):
        assert shared_source(as_source(mine, np.float64, "X")) is None


def test_another_or_no_file_is_not_opened(tmp_path):
    shared = shared_source(as_source(as_map(tmp_path), np.float64, "X"))
    path = tmp_path / "X.bin"
    os.utime(path, ns=(0, 10**9))
    assert shared.open() is None
    path.unlink()
    assert shared.open() is None
