from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kflow.data import sources
from kflow.data.sources import as_source


def test_threads_read_different_rows_of_one_source(monkeypatch):
    monkeypatch.setattr(sources, "_READ_BYTES", 8 * 16)
    array = np.arange(4000.0).reshape(-1, 1)
    source = as_source(array, np.float64, "X")

    def read(offset):
        for start in range(offset, 3990, 7):
            np.testing.assert_array_equal(source[start : start + 3], array[start : start + 3])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, [0, 900, 1800, 2700]))
