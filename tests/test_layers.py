from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import pytest

import kflow
from kflow import ModelFileError, StorageError, kernels, layers
from kflow.layers import DiskLayers, Layer, LayerShape, MemoryLayers, NoLayers, open_layers

KERNEL = kernels.Gaussian(1.0)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def make_flow(rng, where, n_layers=3, **options):
    X = rng.normal(size=(20, 2))
    flow = kflow.KernelFlow(
        KERNEL, n_layers=n_layers, batch_size=8, layers=where, random_state=0, **options
    )
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


def test_folder(rng, dtype, tmp_path):
    folder = tmp_path / "deep" / "layers"
    store = open_store(folder, dtype)
    assert isinstance(store, DiskLayers)
    assert store.folder == folder
    assert list(store) == []
    expected = some_layers(rng, 3, dtype)
    for number, layer in enumerate(expected):
        store.put(number, layer)
    assert_holds(store, expected)
    assert_holds(DiskLayers.open(folder), expected)
    assert_holds(DiskLayers.open(str(folder), count=2), expected[:2])
    assert (folder / "layers.bin").stat().st_size == 3 * 2 * 4 * 3 * dtype.itemsize


def test_the_file_is_what_the_documentation_says(rng, tmp_path):
    store = open_store(tmp_path, FLOAT32)
    expected = some_layers(rng, 2, np.float32)
    for number, layer in enumerate(expected):
        store.put(number, layer)
    header = json.loads((tmp_path / "layers.json").read_text())
    assert header["ranks"] == [[0, 3]]
    shape = (-1, 2, header["batch_size"], 3)
    raw = np.fromfile(tmp_path / "layers.bin", header["dtype"]).reshape(shape)
    np.testing.assert_array_equal(raw, [np.stack(layer) for layer in expected])


def test_put_takes_any_layout(rng, tmp_path):
    store = open_store(tmp_path, FLOAT64)
    z, c, step = some_layers(rng, 1)[0]
    store.put(0, Layer(np.asfortranarray(z), c[::-1][::-1], step))
    assert_holds(store, [Layer(z, c, step)])


@pytest.mark.parametrize("where", [None, 3, ["memory"], b"memory"])
def test_where_must_be_known(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="layers must be 'memory', 'none' or a folder"):
        open_store(where, FLOAT32)


def test_folder_that_is_in_use_is_refused(rng, tmp_path):
    expected = some_layers(rng, 1)
    open_store(tmp_path, FLOAT64).put(0, expected[0])
    with pytest.raises(FileExistsError, match=r"layers: .* already holds the layers of a flow"):
        open_store(tmp_path, FLOAT64)
    assert_holds(DiskLayers.open(tmp_path), expected)


def test_folder_cannot_be_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        open_store(tmp_path / "file", FLOAT64)


def test_truncated_file(rng, tmp_path):
    store = open_store(tmp_path, FLOAT64)
    expected = some_layers(rng, 3)
    for number, layer in enumerate(expected):
        store.put(number, layer)
    data = tmp_path / "layers.bin"
    for lost in (1, 100, 2 * 4 * 3 * 8):
        with data.open("r+b") as file:
            file.truncate(3 * 2 * 4 * 3 * 8 - lost)
        again = DiskLayers.open(tmp_path)
        assert_holds(again, expected[:2])
        with pytest.raises(ModelFileError, match="holds 2 whole layers where 3 are needed"):
            DiskLayers.open(tmp_path, count=3)
        with pytest.raises(ModelFileError, match="cut short after 2 layers"):
            list(store)
    again.put(2, expected[2])
    assert_holds(DiskLayers.open(tmp_path), expected)


def header(**changes):
    return json.dumps(
        {
            "format": "kflow-layers",
            "version": 2,
            "batch_size": 4,
            "n_fixed": 0,
            "dtype": "<f8",
            "ranks": [[0, 3]],
            **changes,
        }
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[]",
        "{}",
        header(version=1),
        header(version=3),
        header(format="other"),
        header(batch_size=0),
        header(batch_size=1e999),
        header(n_fixed=-1),
        header(n_fixed=None),
        header(dtype="|O"),
        header(dtype="nonsense"),
        header(ranks=[]),
        header(ranks=3),
        header(ranks=[[0, 0]]),
        header(ranks=[[1, 3]]),
        header(ranks=[[0, 3], [0, 2]]),
        header(ranks=[[0, 3, 2]]),
    ],
)
def test_foreign_folder(header, tmp_path):
    (tmp_path / "layers.json").write_text(header)
    (tmp_path / "layers.bin").write_bytes(bytes(192))
    with pytest.raises(ModelFileError, match="does not hold the layers of a flow"):
        DiskLayers.open(tmp_path)


def test_empty_folder(tmp_path):
    with pytest.raises(ModelFileError, match="does not hold the layers of a flow"):
        DiskLayers.open(tmp_path)
    with pytest.raises(ModelFileError, match="does not hold the layers of a flow"):
        DiskLayers.open(tmp_path / "nowhere")


# ---- ranks that fall ----------------------------------------------------------------------------


def falling_layers(rng, dtype, ranks=(3, 3, 2, 1, 1), n_fixed=1):
    return [
        tuple(rng.normal(size=(4, columns)).astype(dtype) for columns in (rank + n_fixed, rank))
        for rank in ranks
    ]


@pytest.mark.parametrize("where", ["memory", "folder"])
@pytest.mark.parametrize("n_fixed", [0, 1])
def test_falling_ranks(where, n_fixed, dtype, rng, tmp_path):
    store = open_store(tmp_path if where == "folder" else where, dtype, 3, n_fixed)
    expected = falling_layers(rng, dtype, n_fixed=n_fixed)
    for number, layer in enumerate(expected):
        store.put(number, layer)
        assert_holds(store, expected[: number + 1])
    # From an earlier layer on, with other ranks.
    others = falling_layers(rng, dtype, (1, 1), n_fixed)
    for number, layer in enumerate(others, start=1):
        store.put(number, layer)
    assert_holds(store, [expected[0], *others])
    if where == "folder":
        assert_holds(DiskLayers.open(tmp_path), [expected[0], *others])
        assert json.loads((tmp_path / "layers.json").read_text())["ranks"] == [[0, 3], [1, 1]]


def test_a_folder_of_falling_ranks_that_was_cut_short(rng, tmp_path, dtype):
    store = open_store(tmp_path, dtype, 3, 1)
    expected = falling_layers(rng, dtype)
    ends = [0]
    for number, layer in enumerate(expected):
        store.put(number, layer)
        ends.append((tmp_path / "layers.bin").stat().st_size)
    content = (tmp_path / "layers.bin").read_bytes()
    for length in range(len(content) + 1):
        (tmp_path / "layers.bin").write_bytes(content[:length])
        whole = sum(end <= length for end in ends[1:])
        assert len(DiskLayers.open(tmp_path)) == whole
        assert_holds(DiskLayers.open(tmp_path), expected[:whole])


@pytest.mark.parametrize("place", ["header", "data"])
def test_a_failure_where_the_rank_falls(place, rng, tmp_path, monkeypatch):
    store = open_store(tmp_path, "float64", 3, 1)
    expected = falling_layers(rng, "float64")
    for number in range(2):
        store.put(number, expected[number])

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if place == "header":
            patch.setattr(layers.os, "replace", fail)
        else:
            patch.setattr(layers.np, "ascontiguousarray", fail)
        with pytest.raises(StorageError, match="layer 2 could not be written"):
            store.put(2, expected[2])
    assert_holds(store, expected[:2])
    assert_holds(DiskLayers.open(tmp_path), expected[:2])
    for number in range(2, 5):
        store.put(number, expected[number])
    assert_holds(DiskLayers.open(tmp_path), expected)


def test_copies_whose_rank_fell_do_not_overwrite_each_other(rng, tmp_path):
    store = open_store(tmp_path, "float64", 3, 1)
    expected = falling_layers(rng, "float64")
    store.put(0, expected[0])
    duplicate = copy.deepcopy(store)
    store.put(1, expected[4])
    with pytest.raises(StorageError, match="a copy of the flow has gone on"):
        duplicate.put(1, expected[1])
    assert_holds(store, [expected[0], expected[4]])
    assert_holds(duplicate, expected[:1])


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_room_is_reserved_for_the_rank_of_today(where, rng, tmp_path, monkeypatch):
    store = open_store(tmp_path if where == "folder" else where, "float64", 3, 1)
    store.put(0, falling_layers(rng, "float64")[0])
    room = 100 * 4 * 3 * 8
    monkeypatch.setattr(layers, "_available_memory", lambda: int(room / 0.8) + 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=room))
    with pytest.raises(StorageError):
        store.reserve(100)
    store.put(1, falling_layers(rng, "float64")[3])
    store.reserve(100)
    with pytest.raises(StorageError):
        store.reserve(101)


# ---- flows that keep them ---------------------------------------------------------------------


def test_every_place_gives_the_same_flow(rng, tmp_path):
    state = rng.bit_generator.state
    flows = []
    for where in ("memory", "none", tmp_path / "layers"):
        rng.bit_generator.state = state
        flow, X = make_flow(rng, where)
        flows.append(flow)
    for flow in flows[1:]:
        np.testing.assert_array_equal(flow.points_, flows[0].points_)
    np.testing.assert_array_equal(flows[2].transform(X), flows[0].transform(X))
    with pytest.raises(ValueError, match="layers='none'"):
        flows[1].transform(X)
    flows[1].run(2)
    assert flows[1].n_layers_ == 5


def test_layers_that_exceed_the_memory(rng, monkeypatch):
    monkeypatch.setattr(layers, "_available_memory", lambda: 10**6)
    layer = 2 * 8 * 2 * 4
    with pytest.raises(StorageError, match=r"layers=<folder>.*layers='none'"):
        make_flow(rng, "memory", n_layers=800_000 // layer + 1)
    flow, _ = make_flow(rng, "memory", n_layers=3)
    with pytest.raises(StorageError, match=r"0\.0008 GB can be used"):
        flow.run(10**6)
    assert flow.n_layers_ == 3
    flow.run(1)
    assert flow.n_layers_ == 4
    flow, _ = make_flow(rng, "none", n_layers=3)
    assert issubclass(StorageError, MemoryError)


def test_available_memory_is_plausible():
    assert 0 <= layers._available_memory() <= 2**63


def test_layers_that_exceed_the_disk(rng, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"layers need 0\.00128 GB.*has 1e-06 GB free"):
        make_flow(rng, tmp_path / "layers", n_layers=10_000)
    # Fewer layers fit, and the folder is as good as before.
    flow, _ = make_flow(rng, tmp_path / "layers", n_layers=3)
    assert flow.n_layers_ == 3


def test_a_second_fit_into_the_same_folder_is_refused(rng, tmp_path):
    flow, X = make_flow(rng, tmp_path)
    before = flow.points_
    with pytest.raises(FileExistsError):
        flow.fit(X, X[:, 0] > 0)
    np.testing.assert_array_equal(flow.points_, before)
    np.testing.assert_allclose(flow.transform(X), before, atol=1e-5)


@pytest.mark.parametrize("after_bytes", [0, 10, 100])
def test_a_write_that_fails_midway_leaves_a_usable_flow(rng, tmp_path, monkeypatch, after_bytes):
    flow, X = make_flow(rng, tmp_path / "layers", n_layers=2)
    twin = kflow.KernelFlow(KERNEL, n_layers=2, batch_size=8, random_state=0).fit(X, X[:, 0] > 0)
    before = flow.points_

    class FullDisk:
        """layers.bin on a disk with room for a few more bytes."""

        def __fspath__(self):
            return str(data)

        def open(self, mode):
            assert mode == "r+b"
            self.file = data.open(mode)
            self.room = after_bytes
            return self

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def seek(self, *where):
            return self.file.seek(*where)

        def write(self, block):
            block = bytes(block)
            self.file.write(block[: self.room])
            if len(block) > self.room:
                raise OSError(28, "No space left on device")
            self.room -= len(block)

    data = flow._store._data
    monkeypatch.setattr(flow._store, "_data", FullDisk())
    for _ in range(2):
        with pytest.raises(StorageError, match=r"layer 2 could not be written.*No space left"):
            flow.run(1)
        assert flow.n_layers_ == 2
        assert {len(values) for values in flow.history_.values()} == {2}
        np.testing.assert_array_equal(flow.points_, before)
    monkeypatch.setattr(flow._store, "_data", data)
    np.testing.assert_allclose(flow.transform(X), before, atol=1e-5)
    # Once there is room again it goes on as if nothing had happened.
    flow.run(3)
    twin.run(3)
    np.testing.assert_array_equal(flow.points_, twin.points_)
    np.testing.assert_array_equal(flow.transform(X), twin.transform(X))


def test_copies_of_a_flow_do_not_overwrite_each_others_layers(rng, tmp_path):
    flow, X = make_flow(rng, tmp_path)
    duplicate = copy.deepcopy(flow)
    flow.run(1)
    moved = flow.transform(X)
    before = duplicate.points_
    with pytest.raises(StorageError, match="a copy of the flow has gone on in the same folder"):
        duplicate.run(1)
    # Both still are what they were.
    np.testing.assert_array_equal(flow.transform(X), moved)
    np.testing.assert_array_equal(duplicate.points_, before)
    np.testing.assert_allclose(duplicate.transform(X), before, atol=1e-5)
    flow.run(1)
    np.testing.assert_array_equal(flow.transform(X), flow.points_)


def test_a_truncated_folder_is_noticed_by_transform(rng, tmp_path):
    flow, X = make_flow(rng, tmp_path)
    with (tmp_path / "layers.bin").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(ModelFileError, match="cut short after 1 layers"):
        flow.transform(X)


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_a_layer_can_be_replaced_with_all_after_it(where, rng, tmp_path):
    store = open_store(tmp_path if where == "folder" else where, FLOAT64)
    layers = some_layers(rng, 4)
    for number, layer in enumerate(layers[:3]):
        store.put(number, layer)
    store.put(1, layers[3])
    assert_holds(store, [layers[0], layers[3]])
    store.put(2, layers[1])
    assert_holds(store, [layers[0], layers[3], layers[1]])


def test_a_folder_without_a_layer_can_be_used_again(tmp_path):
    open_store(tmp_path, FLOAT64)
    open_store(tmp_path, FLOAT64)
