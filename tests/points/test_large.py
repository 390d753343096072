"""More than 2^32 numbers: in files with holes, and where only their count matters."""

from __future__ import annotations

import os

import numpy as np
import pytest

from kflow import KernelFlow
from kflow.data.sources import FileSource, as_source
from kflow.flow.batch import draw_batch, sample_rows
from kflow.layers import layer_bytes
from kflow.points.protocol import Shards

N = 2**32 + 12345


@pytest.fixture
def holes(tmp_path):
    """A file of N float32 whose last ten are 0, ..., 9, and which takes a page on the disk."""
    path = tmp_path / "holes.bin"
    with path.open("wb") as file:
        file.truncate(4 * (N - 10))
        file.seek(0, os.SEEK_END)
        file.write(np.arange(10, dtype=np.float32).tobytes())
    if path.stat().st_blocks * 512 > 2**20:
        path.unlink()
        pytest.skip("the file system keeps no holes")
    return path


@pytest.mark.parametrize("d", [1, 5])
def test_rows_of_a_file_with_holes(holes, d):
    n = N // d
    array = np.memmap(holes, np.float32, "r", shape=(n, d), offset=4 * (N - n * d))
    expected = np.arange(10, dtype=np.float32)[-5:].reshape(-1, d)
    rows = np.arange(n - len(expected), n)
    for source in (
        as_source(array, np.float32, "X"),
        *([FileSource(holes, (N, 1), np.dtype(np.float32), "X")] * (d == 1)),
    ):
        assert len(source) == n
        np.testing.assert_array_equal(source[rows[0] : n], expected)
        np.testing.assert_array_equal(source[rows], expected)
        np.testing.assert_array_equal(source[np.array([0, n - 1])], [[0.0] * d, expected[-1]])


def test_batches_and_shards_of_many_points():
    settings = KernelFlow(n_layers=1, batch_size=40)
    batch = draw_batch(np.random.default_rng(0), N, settings)
    assert len(set(batch.rows.tolist())) == 40
    assert 0 <= batch.rows.min() < batch.rows.max() < N
    assert batch.rows.max() > 2**31
    assert sample_rows(N, 7).max() > 2**31
    shards = Shards(N, 2**28)
    assert sum(shards.rows(i).stop - shards.rows(i).start for i in range(len(shards))) == N
    where = shards.within(batch.rows)
    parts = [
        (shards.rows(shard).start + rows)[:, None].astype(np.float64)
        for shard, (_, rows) in enumerate(where)
    ]
    np.testing.assert_array_equal(shards.joined(where, parts)[:, 0], batch.rows)


def test_bytes_of_many_layers():
    assert layer_bytes(10**6, 600, 784) > 10**6 * 600 * 784 * 8 > 2**40
