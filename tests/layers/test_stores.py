from __future__ import annotations

import shutil

import numpy as np
import pytest

import kflow
from kflow import ModelFileError, StorageError, kernels
from kflow.engine.interface import Layer
from kflow.layers import stores as layers
from kflow.layers.block import HISTORY
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.stores import LayerShape, MemoryLayers, NoLayers, layer_bytes, open_layers
from kflow.storage import folder_layers
from kflow.storage.folder_layers import FolderLayers

KERNEL = kernels.Gaussian(1.0)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def make_flow(rng, n_layers=3, **options):
    X = rng.normal(size=(20, 2))
    flow = kflow.KernelFlow(KERNEL, n_layers=n_layers, batch_size=8, random_state=0, **options)
    return flow.fit(X, X[:, 0] > 0), X


def open_store(where, dtype, rank=3, n_fixed=0):
    return open_layers(where, LayerShape(4, n_fixed, np.dtype(dtype)), rank)


def some_layers(rng, count, dtype=np.float64):
    return [
        Layer(*rng.normal(size=(2, 4, 3)).astype(dtype), 0.1 * number) for number in range(count)
    ]


def assert_holds(store, expected):
    assert len(store) == len(expected)
    got = list(store)
    assert len(got) == len(expected)
    for (z, c, step), (z_expected, c_expected, step_expected) in zip(got, expected, strict=True):
        assert z.dtype == z_expected.dtype
        np.testing.assert_array_equal(z, z_expected)
        np.testing.assert_array_equal(c, c_expected)
        assert step == step_expected


# ---- the stores -------------------------------------------------------------------------------


def test_memory(rng, dtype):
    store = open_store("memory", dtype)
    assert isinstance(store, MemoryLayers)
    expected = some_layers(rng, 3, dtype)
    for number, layer in enumerate(expected):
        store.put(number, layer)
    assert_holds(store, expected)
    assert_holds(store, expected)  # more than once


def test_none(rng):
    store = open_store("none", FLOAT32)
    assert isinstance(store, NoLayers)
    store.reserve(10**15)
    store.put(0, some_layers(rng, 1)[0])
    assert len(store) == 0
    assert list(store) == []


@pytest.mark.parametrize("where", [None, 3, ["memory"], b"memory", "", "folder"])
def test_where_must_be_known(where):
    with pytest.raises(ValueError, match=r"layers must be 'memory' or 'none'.*checkpoint=<folder>"):
        open_store(where, FLOAT32)


def test_a_layer_can_be_replaced_with_all_after_it(rng):
    store = open_store("memory", FLOAT64)
    layers = some_layers(rng, 4)
    for number, layer in enumerate(layers[:3]):
        store.put(number, layer)
    store.put(1, layers[3])
    assert_holds(store, [layers[0], layers[3]])
    store.put(2, layers[1])
    assert_holds(store, [layers[0], layers[3], layers[1]])


def falling_layers(rng, dtype, ranks=(3, 3, 2, 1, 1), n_fixed=1):
    return [
        Layer(
            rng.normal(size=(4, rank + n_fixed)).astype(dtype),
            rng.normal(size=(4, rank)).astype(dtype),
            0.5,
        )
        for rank in ranks
    ]


def test_room_is_reserved_for_the_rank_of_today(rng, monkeypatch):
    store = open_store("memory", "float64", 3, 1)
    expected = falling_layers(rng, "float64")
    store.put(0, expected[0])
    room = layer_bytes(100, 4, 2, "float64")
    monkeypatch.setattr(layers, "available_memory", lambda: int(room / 0.8) + 1)
    with pytest.raises(StorageError):
        store.reserve(100)
    store.put(1, expected[2])
    store.reserve(100)
    with pytest.raises(StorageError):
        store.reserve(101)


# ---- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sizes(dtype):
    itemsize = np.dtype(dtype).itemsize
    arrays = 10 * 600 * (150 + 151) * itemsize
    assert arrays < layer_bytes(10, 600, 150, dtype) < 1.01 * arrays
    assert layer_bytes(10, 600, 150, dtype, in_subspace=False) < layer_bytes(10, 600, 150, dtype)
    assert layer_bytes(0, 600, 150, dtype) == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((-1, 600, 150), ValueError),
        ((1, 0, 150), ValueError),
        ((1, 600, 0), ValueError),
        ((1.5, 600, 150), TypeError),
        ((1, 600, 150, "int8"), ValueError),
    ],
)
def test_sizes_of_nothing(arguments, error):
    with pytest.raises(error):
        layer_bytes(*arguments)


# ---- folders ----------------------------------------------------------------------------------


def folder_store(folder, dtype="float64", rank=3, n_fixed=1, flow_id="abc"):
    return FolderLayers(folder, LayerShape(4, n_fixed, np.dtype(dtype)), rank, flow_id)


def some_records(count):
    return [tuple(float(10 * n + i) for i in range(len(HISTORY))) for n in range(count)]


def filled(folder, layers, ends, rng, dtype="float64", n_fixed=1):
    """Return a store with layers in blocks up to `ends`, the rest in memory."""
    store = folder_store(folder, dtype, n_fixed=n_fixed)
    records, rank = some_records(len(layers)), 3
    first = 0
    for number, layer in enumerate(layers):
        store.put(number, layer)
        if number + 1 in ends:
            kept, reduction = layer.coefficients.shape[1], None
            if kept < rank:
                matrix = np.linalg.qr(rng.normal(size=(rank, rank)))[0]
                reduction = RankReduction(first, matrix, kept)
            store.write(records[first : number + 1], reduction, {"end": number + 1})
            first, rank = number + 1, kept
    return store


@pytest.mark.parametrize("n_fixed", [0, 1])
def test_folder(rng, dtype, tmp_path, n_fixed):
    expected = falling_layers(rng, dtype, n_fixed=n_fixed)
    store = filled(tmp_path, expected, (2, 3), rng, dtype, n_fixed)
    assert (store.folder, store.n_written, store.n_pending) == (tmp_path, 3, 2)
    assert store.firsts == (0, 2)
    assert_holds(store, expected)
    assert_holds(store, expected)  # more than once
    for number in (4, 2, 0, 3, 1):
        np.testing.assert_array_equal(store[number].centres, expected[number].centres)
    for number in (-1, 5):
        with pytest.raises(IndexError):
            store[number]
    again = folder_store(tmp_path, dtype, n_fixed=n_fixed)
    states = [content.state for content in again.adopt()]
    assert states == [{"end": 2}, {"end": 3}]
    assert_holds(again, expected[:3])


def test_few_blocks_are_in_memory(rng, tmp_path, monkeypatch):
    expected = some_layers(rng, 20)
    store = filled(tmp_path, expected, range(21), rng, n_fixed=0)
    iterator = iter(store)
    for layer in expected[:15]:
        np.testing.assert_array_equal(next(iterator).centres, layer.centres)
        assert len(store._cache) <= 2
    iterator.close()
    assert len(store._cache) == 0
    _ = store[18], store[19]
    read, reads = folder_layers.read_block, []
    monkeypatch.setattr(folder_layers, "read_block", lambda *a: reads.append(a) or read(*a))
    for number in (18, 19, 18, 19):  # those that were read last
        _ = store[number]
    assert not reads


def test_layers_in_memory_can_be_replaced(rng, tmp_path):
    expected = some_layers(rng, 5)
    store = filled(tmp_path, expected[:4], (2,), rng, n_fixed=0)
    store.put(3, expected[4])
    assert_holds(store, [*expected[:3], expected[4]])
    for number in (1, 5):
        with pytest.raises(IndexError):
            store.put(number, expected[0])
    # One more than there are records for did not count.
    store.write(some_records(1), None, None)
    assert_holds(store, expected[:3])


def test_room_on_the_disk_is_for_the_rank_of_today(rng, tmp_path, monkeypatch):
    store = filled(tmp_path, falling_layers(rng, "float64"), (2,), rng)
    room = layer_bytes(100, 4, 1, "float64")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=room))
    store.reserve(97)
    with pytest.raises(StorageError, match="pass another folder as checkpoint"):
        store.reserve(98)


def test_a_block_that_is_gone(rng, tmp_path):
    store = filled(tmp_path, some_layers(rng, 6), (2, 4, 6), rng, n_fixed=0)
    store.path(2).unlink()
    with pytest.raises(ModelFileError, match=r"block-00000002.safetensors is gone"):
        list(store)
    store.path(0).write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"block-00000000.safetensors is damaged"):
        list(folder_store(tmp_path).adopt())


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "float32"},
        {"rank": 2},
        {"n_fixed": 0},
        {"flow_id": "other"},
    ],
)
def test_blocks_of_another_flow(rng, tmp_path, other):
    filled(tmp_path, falling_layers(rng, "float64"), (2, 3), rng)
    with pytest.raises(ModelFileError, match=r"block-00000000.safetensors"):
        list(folder_store(tmp_path, **other).adopt())


# ---- flows that keep them ---------------------------------------------------------------------


def test_every_place_gives_the_same_flow(rng, tmp_path):
    state = rng.bit_generator.state
    flows = []
    for where in ({}, {"layers": "none"}, {"checkpoint": tmp_path / "layers"}):
        rng.bit_generator.state = state
        flow, X = make_flow(rng, **where)
        flows.append(flow)
    for flow in flows[1:]:
        np.testing.assert_array_equal(flow.points_, flows[0].points_)
    np.testing.assert_array_equal(flows[2].transform(X), flows[0].transform(X))
    with pytest.raises(ValueError, match="layers='none'"):
        flows[1].transform(X)
    flows[1].run(2)
    assert flows[1].n_layers_ == 5


def test_layers_that_exceed_the_memory(rng, monkeypatch):
    monkeypatch.setattr(layers, "available_memory", lambda: 10**6)
    layer = layer_bytes(1, 8, 2, in_subspace=False)
    with pytest.raises(StorageError, match=r"checkpoint=<folder>.*layers='none'"):
        make_flow(rng, n_layers=800_000 // layer + 1)
    flow, _ = make_flow(rng, n_layers=3)
    with pytest.raises(StorageError, match=r"0\.0008 GB can be used"):
        flow.run(10**6)
    assert flow.n_layers_ == 3
    flow.run(1)
    assert flow.n_layers_ == 4
    flow, _ = make_flow(rng, layers="none", n_layers=3)
    assert issubclass(StorageError, MemoryError)


def test_available_memory_is_plausible():
    assert 0 <= layers.available_memory() <= 2**63
