from __future__ import annotations

import io

import numpy as np
import pytest

from kflow._base.npy import read_array


def stored(array, version=None):
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version)
    return content.getvalue()


def read(raw):
    return read_array(io.BytesIO(raw), len(raw))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.float32(3),
        np.array(["a", "bc"]),
        np.empty((0, 4)),
        np.eye(2).T,
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_there_and_back(array, version):
    got = read(stored(np.asarray(array), version))
    np.testing.assert_array_equal(got, array)
    assert got.dtype == np.asarray(array).dtype


def test_a_header_that_lies(monkeypatch):
    raw = stored(np.arange(6.0).reshape(2, 3))
    assert b"(2, 3)" in raw
    monkeypatch.setattr(np, "ndarray", lambda *_, **__: pytest.fail("memory was taken"))
    for lie in (b"(9, 9)", b"(0, 3)"):
        with pytest.raises(ValueError, match=r"data.* 48 bytes for the shape"):
            read(raw.replace(b"(2, 3)", lie))


def test_what_is_no_array():
    for raw in (b"", b"\x93NUMPY", b"PK" * 50, stored(np.arange(3.0))[:-1], b"\x93NUMPY\x07\x00xx"):
        with pytest.raises(ValueError, match=r".*"):
            read(raw)
    objects = io.BytesIO()
    np.lib.format.write_array(objects, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read(objects.getvalue())
