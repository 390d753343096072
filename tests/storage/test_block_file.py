from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from kflow import ModelFileError
from kflow._base import files as _files
from kflow.engine.interface import Layer
from kflow.layers.block import HISTORY, Block
from kflow.layers.rank_reduction import RankReduction
from kflow.storage.block_file import decode_block, encode_block, read_block, write_block

STATE = {"generator": {"state": 2**100}, "curve": [0.1, None]}


def some_block(rng, dtype=np.float32, count=3, rank=3, first=20, turned=True, scale=1.0):
    layers = tuple(
        Layer(
            (scale * rng.normal(size=(5, rank + 1))).astype(dtype),
            (scale * rng.normal(size=(5, rank))).astype(dtype),
            0.1 * number + 0.1,
        )
        for number in range(count)
    )
    matrix = np.linalg.qr(rng.normal(size=(rank + 2, rank + 2)))[0]
    records = tuple(tuple(rng.normal(size=len(HISTORY)).tolist()) for _ in range(count))
    reduction = RankReduction(first, matrix, rank) if turned else None
    return Block(first, layers, reduction, records)


def assert_same(got, expected):
    assert (got.first, len(got), got.dtype) == (expected.first, len(expected), expected.dtype)
    for layer, other in zip(got.layers, expected.layers, strict=True):
        assert layer.centres.dtype == other.centres.dtype
        np.testing.assert_array_equal(layer.centres, other.centres)
        np.testing.assert_array_equal(layer.coefficients, other.coefficients)
        assert layer.step == other.step
    np.testing.assert_array_equal(got.records, expected.records)
    assert (got.reduction is None) == (expected.reduction is None)
    if expected.reduction is not None:
        np.testing.assert_array_equal(got.reduction.matrix, expected.reduction.matrix)
        assert got.reduction.layer == expected.reduction.layer
        assert got.reduction.kept == expected.reduction.kept


# ---- there and back ---------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_round_trip(rng, tmp_path, dtype, turned, count):
    block = some_block(rng, dtype, count, turned=turned)
    size = write_block(tmp_path / "block", block, "abc", STATE)
    assert (tmp_path / "block").stat().st_size == size
    got, flow_id, state = read_block(tmp_path / "block", "abc")
    assert_same(got, block)
    assert flow_id == "abc"
    assert state == STATE


def test_one_point_in_one_dimension():
    layer = Layer(np.ones((1, 1)), np.zeros((1, 1)), 0.0)
    block = Block(0, (layer,), None, ((np.nan,) * len(HISTORY),))
    for dtype in (None, "float16", "float32"):
        assert_same(decode_block(encode_block(block, "", dtype=dtype), "it").block, block)


def test_views_of_any_layout(rng):
    block = some_block(rng)
    views = tuple(
        Layer(np.asfortranarray(z), c[::-1].copy()[::-1], step) for z, c, step in block.layers
    )
    raw = encode_block(Block(20, views, block.reduction, block.records), "")
    assert_same(decode_block(raw, "it").block, block)


def test_fewer_digits(rng):
    block = some_block(rng, np.float64)
    got = decode_block(encode_block(block, "", dtype="float32"), "it").block
    assert got.dtype == np.float64
    for layer, other in zip(got.layers, block.layers, strict=True):
        np.testing.assert_array_equal(layer.centres, other.centres.astype(np.float32))
        np.testing.assert_array_equal(layer.coefficients, other.coefficients.astype(np.float32))
        assert layer.step == other.step


@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1.0, 1e6, 1e25])
def test_half_precision_at_any_scale(rng, dtype, scale):
    block = some_block(rng, dtype, scale=scale)
    got = decode_block(encode_block(block, "", dtype="float16"), "it").block
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.records, block.records)
    for layer, other in zip(got.layers, block.layers, strict=True):
        assert layer.centres.dtype == layer.coefficients.dtype == dtype
        np.testing.assert_allclose(layer.centres, other.centres, rtol=2**-11)
        moves = layer.coefficients.astype(float) * layer.step
        expected = other.coefficients.astype(float) * other.step
        np.testing.assert_allclose(moves, expected, rtol=2**-11)


def test_half_precision_keeps_what_is_small_beside_the_largest(rng):
    block = some_block(rng, np.float64, count=1, turned=False)
    _, c, step = block.layers[0]
    c[0, 0], c[1, 1] = 1e5, 1e-3
    got = decode_block(encode_block(block, "", dtype="float16"), "it").block.layers[0]
    np.testing.assert_allclose(got.coefficients * got.step, c * step, rtol=2**-11)


def test_what_cannot_be_stored(rng):
    block = some_block(rng)
    with pytest.raises(ValueError, match=r"layers_dtype must be one of .*'int8'"):
        encode_block(block, "", dtype="int8")
    with pytest.raises(ValueError, match="JSON"):
        encode_block(block, "", [np.nan])
    with pytest.raises(TypeError, match="JSON"):
        encode_block(block, "", object())
    huge = some_block(rng, np.float64, scale=1e300)
    with pytest.raises(ValueError, match="too large for float32"):
        encode_block(huge, "", dtype="float32")


# ---- the format -------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "block-format.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not here")
@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_the_reader_of_the_documentation(rng, tmp_path, monkeypatch, stored):
    block = some_block(rng)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flow" / "block-00000000.safetensors"
    path.parent.mkdir()
    write_block(path, block, "abc", STATE, dtype=stored)
    _, *code = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {"np": np}
    exec(compile("\n".join(code), PAGE.name, "exec"), names)
    arrays, metadata, again = names["arrays"], names["metadata"], names["again"]
    assert metadata["first"] == "20"
    assert metadata["flow"] == "abc"
    assert json.loads(metadata["state"]) == STATE
    expected = {"centres", "coefficients", "steps", "history", "rotation"}
    assert set(arrays) == set(again) == expected | ({"scales"} if stored == "float16" else set())
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again[name])
    got = read_block(path).block
    centres = arrays["centres"] * arrays.get("scales", np.ones(3))[:, None, None]
    np.testing.assert_array_equal(centres, [layer.centres for layer in got.layers])
    np.testing.assert_array_equal(arrays["steps"], [layer.step for layer in got.layers])


# ---- damage -----------------------------------------------------------------------------------


def test_cut_short_at_every_length(rng):
    raw = encode_block(some_block(rng, count=1), "abc", STATE)
    for length in range(0, len(raw), 7):
        with pytest.raises(ModelFileError, match=r"here is damaged .*remove it with all blocks"):
            decode_block(raw[:length], "here")
    with pytest.raises(ModelFileError, match="damaged"):
        decode_block(raw + b"\0", "here")


def test_flipped_bits_everywhere(rng):
    raw = encode_block(some_block(rng, count=1), "abc", STATE)
    for place in range(len(raw)):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(ModelFileError, match="here"):
            decode_block(bytes(damaged), "here")


def resealed(raw, change):
    """Return a file with another header and the right checksum."""
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    change(header)
    header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header).encode()
    whole = len(text).to_bytes(8, "little") + text + raw[end:]
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def test_newer_version(rng):
    raw = encode_block(some_block(rng), "abc")
    newer = resealed(raw, lambda header: header["__metadata__"].update(version="2"))
    with pytest.raises(ModelFileError, match="here: it was written by a newer kflow: upgrade"):
        decode_block(newer, "here")
    known = resealed(raw, lambda header: header["__metadata__"].update(more="x"))
    assert decode_block(known, "here").flow_id == "abc"


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["__metadata__"].update(format="other"),
        lambda header: header["__metadata__"].update(version="one"),
        lambda header: header["__metadata__"].update(dtype="float16"),
        lambda header: header["__metadata__"].update(dtype="object"),
        lambda header: header["__metadata__"].update(first="-1"),
        lambda header: header["__metadata__"].update(state="{"),
        lambda header: header["__metadata__"].pop("first"),
        lambda header: header["steps"].update(dtype="I64"),
        lambda header: header["centres"].update(shape=[3, 4, 5]),
        lambda header: header["centres"].update(shape=[15, 4]),
        lambda header: header["coefficients"].update(shape=[5, 3, 3]),
        lambda header: header.update(points=header.pop("centres")),
        lambda header: header.update(centres=header["coefficients"]),
        lambda header: header["history"].update(shape=[6, 3]),
    ],
)
def test_what_a_right_checksum_does_not_excuse(rng, change):
    raw = encode_block(some_block(rng), "abc", STATE)
    with pytest.raises(ModelFileError, match="here is damaged"):
        decode_block(resealed(raw, change), "here")


def test_wrong_numbers(rng):
    for name in ("centres", "coefficients"):
        block = some_block(rng)
        getattr(block.layers[1], name)[0, 0] = np.nan
        with pytest.raises(ValueError, match=name):
            encode_block(block, "")
    block = some_block(rng)
    block.reduction.matrix[0] = 0.0
    with pytest.raises(ModelFileError, match="orthonormal"):
        decode_block(encode_block(block, ""), "here")


def test_foreign_flow(rng, tmp_path):
    write_block(tmp_path / "block", some_block(rng), "abc")
    with pytest.raises(ModelFileError, match=r"block: it belongs to another flow"):
        read_block(tmp_path / "block", "def")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_block(tmp_path / "none")


# ---- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["write", "fsync", "replace", "open"])
def test_nothing_is_left_of_a_file_that_could_not_be_written(rng, tmp_path, monkeypatch, place):
    old = some_block(rng)
    write_block(tmp_path / "block", old, "abc")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.BytesIO):
        write = full

    with monkeypatch.context() as patch:
        if place == "write":
            patch.setattr(_files.Path, "open", lambda path, _: (path.touch(), Full())[1])
        elif place == "open":
            patch.setattr(_files.Path, "open", full)
        else:
            patch.setattr(_files.os, place, full)
        with pytest.raises(OSError, match="No space"):
            write_block(tmp_path / "block", some_block(rng), "abc")
    assert os.listdir(tmp_path) == ["block"]
    assert_same(read_block(tmp_path / "block").block, old)
