from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import struct
import zipfile

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, ModelFileError, kernels
from kflow._base.generators import generator_state
from kflow.engine.interface import Layer
from kflow.layers.block import Block
from kflow.storage import model_file
from kflow.storage.block_file import decode_block, encode_block
from kflow.storage.model_file import ModelReader, write_model

KERNEL = kernels.RationalQuadratic(1.5, alpha=0.7)


def make_flow(rng, **options):
    X = rng.normal(size=(30, 3))
    settings = {"n_layers": 4, "batch_size": 12, "random_state": 5, "dtype": "float64"}
    flow = KernelFlow(KERNEL, **{**settings, **options})
    return flow.fit(X, X[:, 0] > 0, follow={"test": X[:5] + 1}), X


@pytest.fixture
def saved(rng, tmp_path):
    flow, _ = make_flow(rng, n_layers=1)
    path = tmp_path / "model.kflow"
    flow.save(path)
    return path


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.points_, second.points_)
    np.testing.assert_array_equal(first.targets_, second.targets_)
    np.testing.assert_array_equal(first.follow_["test"], second.follow_["test"])
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    for name, values in first.history_.items():
        if name != "seconds":
            np.testing.assert_array_equal(values, second.history_[name])


# ---- there and back ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_round_trip(rng, dtype, tmp_path, look, folder):
    where = tmp_path / "checkpoint" if folder else None
    options = {"dtype": dtype, "nugget": {0: 0.1, 6: 0.5}, "step": "rms", "n_halves": 3}
    flow, X = make_flow(rng, checkpoint=where, coarse_fraction=0.4, step_size=0.03, **options)
    if look:
        _ = flow.points_
    path = tmp_path / "model.kflow"
    flow.save(path)
    loaded = kflow.load(path)
    assert type(loaded) is KernelFlow
    assert_same(loaded, flow, X)
    assert loaded.points_.dtype == dtype
    assert loaded.kernel_ == KERNEL
    np.testing.assert_array_equal(loaded.history_["seconds"], flow.history_["seconds"])
    assert loaded.n_layers_ == 4
    assert loaded.n_features_in_ == 3
    for name in ("n_layers", "batch_size", "coarse_fraction", "step", "step_size", "n_halves"):
        assert getattr(loaded, name) == getattr(flow, name)
    # The random state continues: layer 7 uses the nugget that the mapping says.
    assert_same(loaded.run(4), flow.run(4), X)
    assert loaded.history_["nugget"][-1] == 0.5


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_bit_generator_continues(rng, tmp_path, bits):
    flow, X = make_flow(rng, random_state=np.random.Generator(getattr(np.random, bits)(3)))
    flow.save(tmp_path / "model")
    assert_same(kflow.load(tmp_path / "model").run(2), flow.run(2), X)


def test_round_trip_without_layers(rng, tmp_path):
    flow, X = make_flow(rng, layers="none")
    flow.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.points_, flow.points_)
    with pytest.raises(ValueError, match="were not kept"):
        loaded.transform(X)
    np.testing.assert_array_equal(loaded.run(1).points_, flow.run(1).points_)


def test_round_trip_of_a_flow_that_has_not_run(rng, tmp_path):
    flow, X = make_flow(rng, n_layers=0)
    flow.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded.run(2), flow.run(2), X)


def test_saving_twice_replaces_the_file(rng, tmp_path):
    flow, X = make_flow(rng)
    path = tmp_path / "model.kflow"
    flow.save(path)
    flow.run(1)
    flow.save(str(path))
    assert_same(kflow.load(path), flow, X)
    loaded = kflow.load(path)
    loaded.save(path)
    assert_same(kflow.load(path), flow, X)
    assert os.listdir(tmp_path) == ["model.kflow"]


# ---- flows in a subspace ----------------------------------------------------------------------


def make_shrinking_flow(rng, **options):
    labels = np.arange(60) % 3
    X = 2 * rng.normal(size=(3, 8))[labels] + 0.4 * rng.normal(size=(60, 8))
    settings = {
        "rank": "auto",
        "shrink_every": 3,
        "shrink_tolerance": 0.02,
        "n_layers": 14,
        "batch_size": 30,
        "nugget": 1.0,
        "step": "rms",
        "step_size": 0.06,
        "random_state": 0,
        **options,
    }
    flow = KernelFlow(kernels.Gaussian(3.0), **settings)
    return flow.fit(X, kflow.one_hot(labels), follow={"test": rng.normal(size=(7, 8))}), X


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["auto", 5, 0.1])
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("n_layers", [0, 2, 14])
def test_round_trip_of_a_subspace(rng, dtype, tmp_path, rank, folder, n_layers):
    where = tmp_path / "checkpoint" if folder else None
    flow, X = make_shrinking_flow(rng, rank=rank, dtype=dtype, checkpoint=where, n_layers=n_layers)
    assert (flow.rank_ < 5) or (n_layers < 14 and len(flow.state_.reductions) == 0)
    path = tmp_path / "model.kflow"
    flow.save(path)
    loaded = kflow.load(path)
    assert_same(loaded, flow, X)
    for name in ("rank", "shrink_every", "shrink_tolerance", "rank_", "energy_dropped_"):
        assert getattr(loaded, name) == getattr(flow, name)
    outside = rng.normal(size=(4, 8))
    np.testing.assert_array_equal(loaded.transform(outside), flow.transform(outside))
    np.testing.assert_array_equal(loaded.reduced_points_, flow.reduced_points_)
    np.testing.assert_array_equal(loaded.reduced_follow_["test"], flow.reduced_follow_["test"])
    assert_same(loaded.run(9), flow.run(9), X)
    loaded.save(path)
    assert_same(kflow.load(path), flow, X)


def test_round_trip_of_a_subspace_without_layers(rng, tmp_path):
    flow, X = make_shrinking_flow(rng, layers="none")
    flow.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.points_, flow.points_)
    with pytest.raises(ValueError, match="were not kept"):
        loaded.transform(X)
    np.testing.assert_array_equal(loaded.run(4).points_, flow.run(4).points_)


def test_a_layer_that_failed_after_the_rank_fell(rng, tmp_path, monkeypatch):
    flow, X = make_shrinking_flow(rng, n_layers=3, shrink_tolerance=0.5)
    with monkeypatch.context() as patch:
        patch.setattr("kflow.flow.layer_by_layer.draw_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            flow.run(1)
    assert max(flow.state_.reductions) == flow.n_layers_ == 3
    flow.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, flow, X)
    assert_same(loaded.run(2), flow.run(2), X)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"rank": None},
        {"rotations": []},
        {"rotations": lambda turns: turns[:-1]},
        {"rotations": lambda turns: [[0, turns[0][1]], *turns[1:]]},
        {"rotations": lambda turns: [*turns[:-1], [turns[-1][0], 0]]},
        {"rotations": lambda turns: [*turns[:-1], [turns[-1][0], 7]]},
        {"rotations": lambda turns: [*turns[:-1], [99, turns[-1][1]]]},
        {"rotations": lambda turns: [*turns[:-1], [turns[-1][0] + 1, turns[-1][1]]]},
        {"rotations": lambda turns: [turns[0], *turns]},
        {"rotations": [[float("inf"), 2]]},
        {"energy_dropped": "some"},
    ],
    ids=range(11),
)
def test_damaged_settings_of_a_subspace(rng, tmp_path, change):
    flow, _ = make_shrinking_flow(rng)
    assert flow.state_.reductions
    flow.save(tmp_path / "model")

    def update(header):
        settings = header["settings"]
        for name, value in change.items():
            settings[name] = value(settings[name]) if callable(value) else value

    rewrite(tmp_path / "model", header=update)
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("basis", None),
        ("basis", np.eye(8)[:, :7]),
        ("basis", np.ones((8, 8))),
        ("basis", np.full((8, 8), np.nan)),
        ("basis", np.eye(8, dtype=int)),
        ("basis", np.ones(8)),
        ("points_frozen", None),
        ("points_frozen", np.ones((60, 8))),
        ("points_frozen", np.ones((59, 6))),
        ("follow0_frozen", np.ones((60, 6))),
        ("points", np.ones((60, 8))),
    ],
    ids=lambda value: "missing" if value is None else str(getattr(value, "shape", value)),
)
def test_damaged_arrays_of_a_subspace(rng, tmp_path, name, value):
    flow, _ = make_shrinking_flow(rng)
    flow.save(tmp_path / "model")
    rewrite(tmp_path / "model", arrays={name: None if value is None else npy(value, tmp_path)})
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "model")


# ---- schedules and settings -------------------------------------------------------------------


def test_functions_as_schedules_must_be_set_again(rng, tmp_path):
    def size(layer):
        return 0.1 / (1 + layer)

    flow, X = make_flow(rng, step_size=size, step=lambda _: "rms", nugget=lambda _: 0.2)
    flow.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, flow, X)
    for name, value in (("nugget", 0.2), ("step", "rms"), ("step_size", size)):
        with pytest.raises(ValueError, match=rf"{name} at layer 4: .*set flow\.{name}"):
            loaded.run(1)
        assert loaded.n_layers_ == 4
        setattr(loaded, name, value)
    assert_same(loaded.run(2), flow.run(2), X)


def test_numpy_numbers_as_settings(rng, tmp_path):
    flow, X = make_flow(
        rng,
        n_layers=np.int64(4),
        batch_size=np.int32(12),
        nugget=np.float32(0.5),
        step_size={np.int64(0): np.float64(0.1)},
        coarse_fraction=np.float64(0.5),
    )
    flow.save(tmp_path / "model")
    assert_same(kflow.load(tmp_path / "model").run(1), flow.run(1), X)


def test_a_file_is_readable_with_numpy_alone(rng, tmp_path):
    flow, _ = make_flow(rng)
    flow.save(tmp_path / "model.zip")
    with np.load(tmp_path / "model.zip") as arrays:
        np.testing.assert_array_equal(arrays["points"], flow.points_)
        block = decode_block(arrays["blocks/00000000.safetensors"], "it").block
    assert_same_layers(block.layers, flow.state_.store)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.testzip() is None
        header = json.loads(archive.read("model.json"))
    assert header["format"] == "kflow-model"
    assert header["settings"]["kernel"] == KERNEL.to_dict()


def test_permissions_follow_the_umask(rng, tmp_path):
    flow, _ = make_flow(rng)
    before = os.umask(0o027)
    try:
        flow.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o640


# ---- damaged and foreign files ----------------------------------------------------------------


def test_truncated_at_every_length(saved, tmp_path):
    whole = saved.read_bytes()
    cut = tmp_path / "into_blocks"
    for length in [0, 1, 4, 30, *range(50, len(whole), 97), len(whole) - 22, len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match="into_blocks"):
            kflow.load(cut)


@pytest.mark.slow
def test_flipped_bits(saved, tmp_path, rng):
    whole = saved.read_bytes()
    original = kflow.load(saved)
    flipped = tmp_path / "flipped"
    # Everywhere now and then, and each byte of ZIP's own records, whose meaning varies.
    directory = whole.index(b"PK\x01\x02")
    with zipfile.ZipFile(saved) as archive:
        starts = [info.header_offset for info in archive.infolist()]
    records = [at for start in starts[:1] for at in range(start, start + 30)]
    places = {*range(0, directory, 131), *records, *range(directory, directory + 60)}
    places |= set(range(len(whole) - 22, len(whole)))
    for place in sorted(places):
        for bit in range(8) if place in records or place >= directory else [rng.integers(8)]:
            raw = bytearray(whole)
            raw[place] ^= 1 << int(bit)
            flipped.write_bytes(raw)
            try:
                loaded = kflow.load(flipped)
            except ModelFileError:
                continue
            # What carries no meaning, such as a date, may change; the numbers may not.
            np.testing.assert_array_equal(loaded.points_, original.points_)
            np.testing.assert_array_equal(
                loaded.transform(np.eye(3)), original.transform(np.eye(3))
            )


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"not a model", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x93NUMPY"],
    ids=repr,
)
def test_foreign_files(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ModelFileError, match="file is not a kflow model file"):
        kflow.load(tmp_path / "file")


def test_pickles_are_foreign_files(tmp_path):
    (tmp_path / "file").write_bytes(pickle.dumps({"format": "kflow-model"}))
    with pytest.raises(ModelFileError, match="is not a kflow model file"):
        kflow.load(tmp_path / "file")


def test_other_archives(tmp_path):
    np.savez(tmp_path / "arrays.npz", points=np.ones(3))
    with pytest.raises(ModelFileError, match="foreign"):
        kflow.load(tmp_path / "arrays.npz")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("model.json", b"\xff{}")
    with pytest.raises(ModelFileError, match="is not a kflow model file"):
        kflow.load(tmp_path / "zip")


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(ModelFileError, match="is a folder"):
        kflow.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        kflow.load(tmp_path / "nowhere")


def assert_same_layers(layers, others):
    for layer, other in zip(layers, others, strict=True):
        for part, other_part in zip(layer, other, strict=True):
            np.testing.assert_array_equal(part, other_part)


def rewrite(path, header=None, arrays=None, blocks=None):
    """Change parts of a model file and keep it a sound ZIP."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if header is not None:
        content = json.loads(members["model.json"])
        header(content)
        members["model.json"] = json.dumps(content).encode()
    for name, value in (arrays or {}).items():
        if value is None:
            del members[f"{name}.npy"]
        else:
            members[f"{name}.npy"] = value
    for first, value in (blocks or {}).items():
        name = f"blocks/{first:08d}.safetensors"
        if value is None:
            del members[name]
        else:
            members[name] = value(members.get(name))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array, tmp_path):
    np.save(tmp_path / "one.npy", array, allow_pickle=True)
    return (tmp_path / "one.npy").read_bytes()


class Executed:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["points", "targets", "follow0", "history_rho"])
def test_pickled_objects_are_refused_and_run_nothing(saved, tmp_path, name):
    trace = tmp_path / "executed"
    objects = np.array([[Executed(trace)]], dtype=object)
    rewrite(saved, arrays={name: npy(objects, tmp_path)})
    with pytest.raises(ModelFileError, match=name):
        kflow.load(saved)
    assert not trace.exists()


def test_objects_are_not_written(tmp_path):
    with pytest.raises(TypeError, match="thing holds Python objects"):
        write_model(tmp_path / "model", "KernelFlow", {}, [("thing", np.array([None]))])
    assert os.listdir(tmp_path) == []


def test_future_version(saved):
    rewrite(saved, header=lambda header: header.update(version=6))
    with pytest.raises(ModelFileError, match="newer kflow: upgrade"):
        kflow.load(saved)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_past_version(saved, version):
    rewrite(saved, header=lambda header: header.update(version=version))
    with pytest.raises(ModelFileError, match="an older kflow, in a format that is no longer read"):
        kflow.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"format": None},
        {"version": "one"},
        {"version": None},
        {"settings": 3},
        {"settings": None},
        {"kind": "Pickle"},
    ],
    ids=str,
)
def test_damaged_header(saved, change):
    rewrite(saved, header=lambda header: header.update(change))
    with pytest.raises(ModelFileError):
        kflow.load(saved)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"kernel": {"kernel": "os.system"}},
        {"kernel": 3},
        {"kernel": None},
        {"n_stored": 7},
        {"n_stored": None},
        {"batch_size": "12"},
        {"batch_size": 5},
        {"rank": "auto"},
        {"rank": 0},
        {"rank": [3]},
        {"shrink_every": 2},
        {"shrink_tolerance": 0},
        {"rotations": [[1, 2]]},
        {"rotations": 3},
        {"rotations": None},
        {"energy_dropped": None},
        {"dtype": "object"},
        {"dtype": "float32"},
        {"dtype": None},
        {"n_layers": float("inf")},
        {"n_stored": float("inf")},
        {"n_stored": float("nan")},
        {"nugget": -1},
        {"step": "newton"},
        {"follow": ["one", "two"]},
        {"follow": 3},
        {"follow": [""]},
        {"random_state": {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}}},
        {"random_state": {}},
        {"random_state": {"bit_generator": "default_rng"}},
        {"random_state": {"bit_generator": "PCG64", "state": 3}},
        {"random_state": {"bit_generator": ["PCG64"]}},
        {"random_state": None},
    ],
    ids=str,
)
def test_damaged_settings(saved, change):
    rewrite(saved, header=lambda header: header["settings"].update(change))
    with pytest.raises(ModelFileError):
        kflow.load(saved)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points", None),
        ("points", np.ones(3)),
        ("points", np.ones((5, 3))),
        ("points", np.full((30, 3), "a")),
        ("points", np.full((30, 3), 1j)),
        ("points", np.ones((30, 2))),
        ("points", np.full((30, 3), np.nan)),
        ("points", np.ones((30, 0))),
        ("targets", np.ones((29, 1))),
        ("targets", np.full((30, 1), "a")),
        ("targets", np.full((30, 1), np.inf)),
        ("targets", np.ones((30, 0))),
        ("history_rho", None),
        ("history_step", np.ones(7)),
        ("history_rho", np.array(["a"])),
        ("history_rank", np.ones(1)),
        ("follow0", None),
        ("follow0", np.ones((5, 4))),
        ("follow0", np.full((5, 3), "a")),
    ],
    ids=lambda value: "missing" if value is None else str(getattr(value, "shape", value)),
)
def test_damaged_arrays(saved, tmp_path, name, value):
    rewrite(saved, arrays={name: None if value is None else npy(value, tmp_path)})
    with pytest.raises(ModelFileError):
        kflow.load(saved)


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_damaged_random_states(rng, tmp_path, bits):
    flow, _ = make_flow(rng, random_state=np.random.Generator(getattr(np.random, bits)(3)))
    path = tmp_path / "model"
    flow.save(path)
    good = generator_state(kflow.load(path).state_.rng)

    def spoil(state, value):
        """Put a value in place of each part of the state in turn."""
        for key, part in state.items():
            if key not in ("array", "dtype"):
                yield {**state, key: value}
            if isinstance(part, dict):
                yield from ({**state, key: spoilt} for spoilt in spoil(part, value))

    for value in (-1, 10**6, 2**200, None, "a", [1], {}, 1e300, {"array": [-1], "dtype": "<u8"}):
        for state in spoil(good, value):
            rewrite(path, header=lambda header, s=state: header["settings"].update(random_state=s))
            # What the generator takes is a state like any other.
            with contextlib.suppress(ModelFileError):
                kflow.load(path).run(1)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"format": "kflow-model", "version": 1e999, "kind": "KernelFlow"}', "1e999"],
    ids=["deep", "infinite version", "infinite"],
)
def test_headers_that_are_no_header(saved, text):
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("model.json", text)
    with pytest.raises(ModelFileError, match="is not a kflow model file"):
        kflow.load(saved)


def test_arrays_of_any_order(saved, tmp_path):
    before = kflow.load(saved)
    with np.load(saved) as arrays:
        spoilt = {
            name: npy(np.asfortranarray(arrays[name]), tmp_path)
            for name in ("points", "targets", "follow0")
        }
    rewrite(saved, arrays=spoilt)
    X = np.ones((2, 3))
    assert_same(kflow.load(saved).run(1), before.run(1), X)


def test_an_array_that_claims_to_be_huge(saved):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 1000), }"
    header += b" " * (117 - len(header)) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    rewrite(saved, arrays={"points": content})
    with pytest.raises(ModelFileError, match="points"):
        kflow.load(saved)


def test_trailing_data_in_an_array(saved, tmp_path):
    rewrite(saved, arrays={"targets": npy(np.ones((30, 1)), tmp_path) + b"more"})
    with pytest.raises(ModelFileError, match="more data"):
        kflow.load(saved)


def with_block(**changes):
    """Return how to change parts of a block."""

    def change(raw):
        block, flow_id, _ = decode_block(raw, "it")
        parts = {
            name: changes.get(name, getattr(block, name))
            for name in ("first", "layers", "reduction", "records")
        }
        return encode_block(Block(**parts), changes.get("flow_id", flow_id))

    return change


def flipped(raw):
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    "change",
    [
        None,
        flipped,
        lambda raw: raw[:-1],
        lambda _: b"",
        with_block(first=1),
        lambda raw: with_block(layers=layer_of(raw, 11, 3))(raw),
        lambda raw: with_block(layers=layer_of(raw, 12, 2))(raw),
        lambda raw: with_block(
            layers=layer_of(raw, 12, 3) * 2, records=decode_block(raw, "it").block.records * 2
        )(raw),
    ],
    ids=range(8),
)
def test_damaged_blocks(saved, change):
    rewrite(saved, blocks={0: change})
    with pytest.raises(ModelFileError, match=r"layers|blocks/00000000"):
        kflow.load(saved)


def layer_of(raw, n_rows, n_columns):
    z, c, step = decode_block(raw, "it").block.layers[0]
    return (Layer(z[:n_rows, :n_columns], c[:n_rows, :n_columns], step),)


def test_blocks_of_several_flows(rng, tmp_path):
    flow, _ = make_shrinking_flow(rng)
    flow.save(tmp_path / "model")
    first = min(flow.state_.reductions)
    rewrite(tmp_path / "model", blocks={first: with_block(flow_id="other")})
    with pytest.raises(ModelFileError, match="belongs to another flow"):
        kflow.load(tmp_path / "model")
    flow.save(tmp_path / "model")
    rewrite(tmp_path / "model", blocks={first: with_block(reduction=None)})
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "model")


@pytest.mark.parametrize("layers_dtype", ["float16", "float32"])
def test_fewer_digits(rng, tmp_path, layers_dtype):
    flow, X = make_shrinking_flow(rng, dtype="float64")
    flow.save(tmp_path / "exact")
    flow.save(tmp_path / "model", layers_dtype=layers_dtype)
    loaded = kflow.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.points_, flow.points_)  # they are not layers
    np.testing.assert_array_equal(loaded.history_["step"], flow.history_["step"])
    spread = np.linalg.norm(flow.points_.std(axis=0))
    error = np.linalg.norm(loaded.transform(X) - flow.transform(X), axis=1).max() / spread
    digits = {"float16": 2**-11, "float32": 2**-24}[layers_dtype]
    assert 0 < error < 100 * digits
    assert loaded.run(3).n_layers_ == flow.n_layers_ + 3
    with pytest.raises(ValueError, match="layers_dtype must be one of"):
        flow.save(tmp_path / "model", layers_dtype="int8")
    assert_same(kflow.load(tmp_path / "exact"), flow, X)


def test_targets_take_little_room(rng, tmp_path):
    for targets, dtype in (
        (kflow.one_hot(np.arange(30) % 3), np.uint8),
        (rng.normal(size=(30, 2)).astype(np.float32), np.float32),
        (rng.normal(size=(30, 2)), np.float64),
        (np.where(np.arange(30) % 2, -0.0, 1.0)[:, None], np.float64),
    ):
        X = rng.normal(size=(30, 3))
        flow = KernelFlow(KERNEL, n_layers=1, batch_size=10).fit(X, targets)
        flow.save(tmp_path / "model")
        with np.load(tmp_path / "model") as arrays:
            assert arrays["targets"].dtype == dtype
        loaded = kflow.load(tmp_path / "model").targets_
        assert loaded.dtype == np.float64
        np.testing.assert_array_equal(loaded, flow.targets_)
        np.testing.assert_array_equal(np.signbit(loaded), np.signbit(flow.targets_))


# ---- damaged estimators -----------------------------------------------------------------------


@pytest.fixture(params=["classifier", "regressor"])
def estimator(request, rng):
    X = rng.normal(size=(20, 4))
    settings = {"n_layers": 2, "batch_size": 8, "random_state": 0, "rank": 3}
    if request.param == "regressor":
        return kflow.KernelFlowRegressor(**settings).fit(X, X[:, :2])
    return kflow.KernelFlowClassifier(**settings).fit(X, X[:, 0] > 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"parameters": None},
        {"parameters": {"unknown": 1}},
        {"parameters": {"kernel": "gaussian"}},
        {"flow": None},
        {"flow": {}},
        {"n_features_in": 3},
        {"n_features_in": "four"},
        {"n_features_in": float("inf")},
        {"interpolant": None},
        {"interpolant": {"kernel": {"kernel": "gaussian", "length_scale": 1.0}, "nugget": -1}},
        {"interpolant": {"kernel": {"kernel": "gaussian", "length_scale": -1.0}, "nugget": 1}},
    ],
    ids=str,
)
def test_damaged_settings_of_an_estimator(estimator, tmp_path, change):
    estimator.save(tmp_path / "model")
    rewrite(tmp_path / "model", header=lambda header: header["settings"].update(change))
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interpolant_centres", None),
        ("interpolant_centres", np.ones((20, 3))),
        ("interpolant_centres", np.ones((19, 4))),
        ("interpolant_centres", np.full((20, 4), np.nan)),
        ("interpolant_centres", np.full((20, 4), "a")),
        ("interpolant_coefficients", None),
        ("interpolant_coefficients", np.ones((20, 3))),
        ("interpolant_coefficients", np.ones((20, 0))),
        ("interpolant_coefficients", np.full((20, 2), np.inf)),
        ("preprocessing_unit", None),
        ("preprocessing_mean", np.zeros(3)),
        ("preprocessing_scale", np.ones(5)),
        ("basis", np.eye(5, 3)),
        ("basis", np.eye(4, 2)),
        ("basis", None),
        ("feature_names", np.array(["a", "b"])),
        ("feature_names", np.arange(4)),
        ("own_classes", np.arange(3)),
        ("own_target_mean", np.zeros(1)),
        ("own_target_scale", np.full(2, np.nan)),
        ("own_one_dimensional", np.zeros(0, bool)),
        ("own_one_dimensional", np.ones(1, bool)),
    ],
    ids=lambda value: "missing" if value is None else str(getattr(value, "shape", value)),
)
def test_damaged_arrays_of_an_estimator(estimator, tmp_path, name, value):
    estimator.save(tmp_path / "model")
    classifier = isinstance(estimator, kflow.KernelFlowClassifier)
    if name.startswith("own_") and classifier != (name == "own_classes"):
        return
    content = None if value is None else npy(value, tmp_path)
    rewrite(tmp_path / "model", arrays={name: content})
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "model")


# ---- disks that fill up -----------------------------------------------------------------------


def failing(error, after):
    """np.lib.format.write_array that raises in the call after so many."""
    write_array = np.lib.format.write_array
    calls = []

    def write(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise error
        return write_array(*args, **kwargs)

    return write


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), KeyboardInterrupt()], ids=repr
)
@pytest.mark.parametrize("after", [0, 4])
def test_a_failed_save_leaves_the_earlier_file(rng, tmp_path, monkeypatch, error, after):
    flow, X = make_flow(rng)
    twin, _ = make_flow(np.random.default_rng(20181119))
    path = tmp_path / "model.kflow"
    flow.save(path)
    before = path.read_bytes()
    flow.run(1)
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", failing(error, after))
        with pytest.raises(type(error)):
            flow.save(path)
        with pytest.raises(type(error)):
            flow.save(tmp_path / "other")
    assert os.listdir(tmp_path) == ["model.kflow"]
    assert path.read_bytes() == before
    # The flow itself is as good as before.
    assert_same(flow.run(1), twin.run(2), X)


def test_a_full_disk_at_the_last_moment(rng, tmp_path, monkeypatch):
    flow, _ = make_flow(rng)
    path = tmp_path / "model.kflow"
    path.write_text("earlier")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        flow.save(path)
    assert os.listdir(tmp_path) == ["model.kflow"]
    assert path.read_text() == "earlier"


def test_a_folder_that_does_not_exist(rng, tmp_path):
    flow, _ = make_flow(rng)
    with pytest.raises(OSError, match="nowhere"):
        flow.save(tmp_path / "nowhere" / "model")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        flow.save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_saving_needs_the_layers(rng, tmp_path):
    flow, _ = make_flow(rng, checkpoint=tmp_path / "layers")
    shutil.rmtree(tmp_path / "layers")
    with pytest.raises((OSError, ModelFileError)):
        flow.save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


# ---- the reader -------------------------------------------------------------------------------


def test_reader(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.float32([1.5])}
    write_model(tmp_path / "model", "Thing", {"x": [1, None]}, arrays.items())
    with ModelReader(tmp_path / "model") as reader:
        assert reader.kind == "Thing"
        assert reader.settings == {"x": [1, None]}
        assert "a" in reader
        assert "c" not in reader
        for name, value in arrays.items():
            got = reader.array(name, ndim=value.ndim)
            np.testing.assert_array_equal(got, value)
            assert got.dtype == value.dtype
        with pytest.raises(ModelFileError, match="a has 2 dimensions"):
            reader.array("a", ndim=1)
        with pytest.raises(ModelFileError, match="c"):
            reader.array("c")
    with pytest.raises(ModelFileError, match="holds a 'Thing', which this kflow does not know"):
        kflow.load(tmp_path / "model")
