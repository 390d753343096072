from __future__ import annotations

import errno
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kflow.data import sources
from kflow.data.sources import as_source, copied, spool
from kflow.errors import StorageError


def test_threads_read_different_rows_of_one_source(monkeypatch):
    monkeypatch.setattr(sources, "_READ_BYTES", 8 * 16)
    array = np.arange(4000.0).reshape(-1, 1)
    source = as_source(array, np.float64, "X")

    def read(offset):
        for start in range(offset, 3990, 7):
            np.testing.assert_array_equal(source[start : start + 3], array[start : start + 3])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, [0, 900, 1800, 2700]))


class FullDisk(io.BytesIO):
    """A file on a disk that has no room left."""

    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["stream", "copy"])
def test_a_full_disk_is_named(what, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", lambda *_: FullDisk())

    def write():
        if what == "stream":
            return spool([(np.ones((2, 2)), np.ones(2))], tmp_path, "float32")
        return copied(as_source(np.ones((3, 2)), np.float64, "X"), tmp_path)

    with pytest.raises(StorageError, match=r"/X\.bin could not be written \(No space left"):
        write()


def test_an_error_of_the_stream_itself_stays_what_it_is(tmp_path):
    def chunks():
        yield np.ones((2, 2)), np.ones(2)
        raise OSError("the tape broke")

    with pytest.raises(OSError, match=r"^the tape broke$") as raised:
        spool(chunks(), tmp_path, "float32")
    assert type(raised.value) is OSError
