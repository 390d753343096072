from __future__ import annotations

import copy
import errno
import json
import logging
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow import KernelFlow, ModelFileError, StorageError, kernels
from kflow._base import files as _files
from kflow._base.generators import generator_state
from kflow.evaluation import ErrorCurve, ErrorWindow
from kflow.stopping import CollapseStopping
from kflow.storage.block_file import read_block
from kflow.storage.checkpoint import _digest, has_flow, locked
from kflow.storage.folder_layers import FolderLayers
from kflow.storage.points_file import read_points

KERNEL = kernels.Gaussian(3.0)
LABELS = np.arange(60) % 3
SETTINGS = {
    "plain": {},
    "batch": {"step_over": "batch", "n_halves": 3},
    "rank": {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 0.02},
    "both": {"rank": 0.1, "shrink_every": 4, "shrink_tolerance": 0.02, "step_over": "batch"},
}


def data(rng):
    X = 2 * rng.normal(size=(3, 8))[LABELS] + 0.4 * rng.normal(size=(60, 8))
    return X, kflow.one_hot(LABELS), {"test": X[:7] + 0.1, "more": X[7:9] - 0.1}


def make(folder=None, n_layers=14, **options):
    settings = {
        "batch_size": 30,
        "nugget": 1.0,
        "step": "rms",
        "step_size": 0.06,
        "random_state": 0,
        "every": 5,
        **options,
    }
    return KernelFlow(KERNEL, n_layers=n_layers, checkpoint=folder, **settings)


def assert_same(first, second, rng=None):
    assert first.n_layers_ == second.n_layers_
    np.testing.assert_array_equal(first.points_, second.points_)
    np.testing.assert_array_equal(first.reduced_points_, second.reduced_points_)
    assert first.follow_.keys() == second.follow_.keys()
    for name, points in first.follow_.items():
        np.testing.assert_array_equal(points, second.follow_[name])
    for name, values in first.history_.items():
        if name != "seconds":
            np.testing.assert_array_equal(values, second.history_[name])
    for layer, other in zip(first.state_.store, second.state_.store, strict=True):
        np.testing.assert_array_equal(layer.centres, other.centres)
        np.testing.assert_array_equal(layer.coefficients, other.coefficients)
        assert layer.step == other.step
    assert generator_state(first.state_.rng) == generator_state(second.state_.rng)
    if rng is not None:
        outside = rng.normal(size=(4, 8))
        np.testing.assert_array_equal(first.transform(outside), second.transform(outside))


class Killed(Exception):
    pass


def killed_after(n_layers):
    def callback(flow):
        if flow.n_layers_ == n_layers:
            raise Killed

    return callback


# ---- going on ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_a_checkpoint_changes_nothing(rng, dtype, tmp_path, options):
    X, Y, follow = data(rng)
    expected = make(dtype=dtype, **options).fit(X, Y, follow)
    flow = make(tmp_path / "deep" / "folder", dtype=dtype, **options).fit(X, Y, follow)
    assert_same(flow, expected, rng)
    assert flow.state_.store.n_pending == 0


def blocks(folder):
    return sorted(folder.glob("block-*.safetensors"))


def block_of(path):
    return read_block(path).block


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", [True, False])
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("interrupted", [1, 5, 6, 9, 14])
def test_resumed_is_uninterrupted(rng, dtype, tmp_path, interrupted, options, snapshot):
    X, Y, follow = data(rng)
    expected = make(dtype=dtype, **options).fit(X, Y, follow)
    with pytest.raises(Killed):
        make(tmp_path, callbacks=[killed_after(interrupted)], dtype=dtype, **options).fit(
            X, Y, follow
        )
    assert has_flow(tmp_path)
    if not snapshot:
        (tmp_path / "points.safetensors").unlink(missing_ok=True)
    flow = make(tmp_path, dtype=dtype, **options).fit(X, Y, follow, resume=True)
    assert_same(flow, expected, rng)
    assert_same(flow.run(3), expected.run(3), rng)


@pytest.mark.slow
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_snapshots_of_the_points_are_where_replays_are(rng, tmp_path, monkeypatch, options):
    X, Y, follow = data(rng)
    monkeypatch.setattr("kflow.storage.checkpoint._PART", np.inf)
    make(tmp_path, n_layers=12, **options).fit(X, Y, follow)
    arrays, n_layers = read_points(tmp_path / "points.safetensors")
    assert n_layers == 12
    with_snapshot = make(tmp_path, n_layers=12, **options).fit(X, Y, follow, resume=True)
    (tmp_path / "points.safetensors").unlink()
    without = make(tmp_path, n_layers=12, **options).fit(X, Y, follow, resume=True)
    assert_same(with_snapshot, without)
    for number, name in enumerate(("", "test", "more")):
        np.testing.assert_array_equal(arrays[f"points{number}"], without.positions().sets[name])


def test_the_same_call_until_it_is_done(rng, tmp_path):
    X, Y, follow = data(rng)
    expected = make().fit(X, Y, follow)
    for end in (3, 3, 8, 13):
        with pytest.raises(Killed):
            make(tmp_path, callbacks=[killed_after(end)]).fit(X, Y, follow, resume=True)
    for _ in range(2):
        flow = make(tmp_path).fit(X, Y, follow, resume=True)
        assert_same(flow, expected, rng)


def test_more_layers(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path, n_layers=8).fit(X, Y, follow)
    flow = make(tmp_path, n_layers=14).fit(X, Y, follow, resume=True)
    assert_same(flow, make().fit(X, Y, follow), rng)
    assert [block.first for block in map(block_of, blocks(tmp_path))] == [0, 5, 8, 13]
    with pytest.raises(ValueError, match=r"n_layers=10, but the flow in .* has 14 layers already"):
        make(tmp_path, n_layers=10).fit(X, Y, follow, resume=True)


def test_no_layers(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path, n_layers=0).fit(X, Y, follow)
    assert blocks(tmp_path) == []
    flow = make(tmp_path).fit(X, Y, follow, resume=True)
    assert_same(flow, make().fit(X, Y, follow), rng)


def test_without_a_seed(rng, tmp_path):
    X, Y, follow = data(rng)
    with pytest.raises(Killed):
        make(tmp_path, random_state=None, callbacks=[killed_after(3)]).fit(X, Y, follow)
    header = json.loads((tmp_path / "flow.json").read_text())
    random = np.random.default_rng()
    random.bit_generator.state = header["generator"]
    flow = make(tmp_path, random_state=None).fit(X, Y, follow, resume=True)
    assert_same(flow, make(random_state=random).fit(X, Y, follow), rng)


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_every_bit_generator(rng, tmp_path, bits):
    X, Y, follow = data(rng)

    def random():
        return np.random.Generator(getattr(np.random, bits)(3))

    expected = make(random_state=random()).fit(X, Y, follow)
    make(tmp_path, n_layers=7, random_state=random()).fit(X, Y, follow)
    flow = make(tmp_path, random_state=random()).fit(X, Y, follow, resume=True)
    assert_same(flow, expected)


def test_default_kernel_and_schedules(rng, tmp_path):
    X, Y, follow = data(rng)
    options = {"nugget": {0: 0.5, 7: 2.0}, "gradient_cap": np.inf, "step_size": np.float32(0.05)}

    def fresh(folder, n_layers, **more):
        return KernelFlow(
            n_layers=n_layers, batch_size=30, random_state=1, checkpoint=folder, **options, **more
        )

    expected = fresh(None, 9).fit(X, Y, follow)
    fresh(tmp_path, 5, every=2).fit(X, Y, follow)
    flow = fresh(tmp_path, 9, every=3).fit(X, Y, follow, resume=True)
    assert_same(flow, expected)
    assert flow.kernel_ == expected.kernel_


def test_a_saved_flow_needs_its_checkpoint_no_more(rng, tmp_path):
    X, Y, follow = data(rng)
    flow = make(tmp_path / "checkpoint", **SETTINGS["rank"]).fit(X, Y, follow)
    flow.save(tmp_path / "model")
    expected = make(**SETTINGS["rank"]).fit(X, Y, follow)
    shutil.rmtree(tmp_path / "checkpoint")
    assert_same(kflow.load(tmp_path / "model").run(5), expected.run(5), rng)
    with pytest.raises(ModelFileError, match=r"block-00000000.* is gone"):
        flow.transform(X)


# ---- callbacks --------------------------------------------------------------------------------


def error_curve():
    return ErrorCurve(
        LABELS,
        LABELS[:7],
        nugget=0.1,
        every=2,
        rng=np.random.default_rng(5),
        n_interpolation=(30, 3),
    )


def error_window():
    return ErrorWindow(
        LABELS, LABELS[:7], nugget=0.1, first=3, last=13, rng=np.random.default_rng(6)
    )


def collapse(**options):
    return CollapseStopping(
        LABELS,
        LABELS[:7],
        nugget=0.1,
        rng=np.random.default_rng(7),
        follow="test",
        **{"every": 3, "confirmations": 4, "tolerance": 0.5, **options},
    )


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [2, 6, 7, 8])
def test_callbacks_go_on(rng, tmp_path, interrupted):
    X, Y, follow = data(rng)
    expected = [error_curve(), error_window(), collapse()]
    whole = make(callbacks=expected).fit(X, Y, follow)
    assert expected[2].stopped_at is not None
    assert interrupted < whole.n_layers_ < 14
    with pytest.raises(Killed):
        make(
            tmp_path,
            callbacks=[error_curve(), error_window(), killed_after(interrupted), collapse()],
        ).fit(X, Y, follow)
    for _ in range(2):  # and a flow that has ended stays as it is
        callbacks = [error_curve(), error_window(), collapse()]
        flow = make(tmp_path, callbacks=callbacks).fit(X, Y, follow, resume=True)
        assert_same(flow, whole)
        for one, other in zip(callbacks, expected, strict=True):
            assert one.errors == other.errors
            assert one.to_state() == other.to_state()


def test_states_have_no_nan():
    curve = error_curve()
    curve.layers.append(1)
    for errors in curve.errors.values():
        errors.append(np.nan)
    state = json.loads(json.dumps(curve.to_state(), allow_nan=False))
    again = error_curve()
    again.from_state(state)
    np.testing.assert_array_equal(list(again.errors.values()), [[np.nan], [np.nan]])


def test_a_function_that_ends_a_flow(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path, callbacks=[lambda flow: flow.n_layers_ == 6]).fit(X, Y, follow)
    flow = make(tmp_path).fit(X, Y, follow, resume=True)
    assert flow.n_layers_ == 6
    assert flow.run(2).n_layers_ == 8


def test_a_callback_that_only_interrupts(rng, tmp_path):
    X, Y, follow = data(rng)

    class Interrupt:
        interrupts = True

        def __call__(self, flow):
            return flow.n_layers_ == 6

    make(tmp_path, callbacks=[Interrupt()]).fit(X, Y, follow)
    flow = make(tmp_path).fit(X, Y, follow, resume=True)
    assert_same(flow, make().fit(X, Y, follow))


def test_other_callbacks(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path, n_layers=6, callbacks=[error_curve()]).fit(X, Y, follow)
    for callbacks in ([], [collapse()], [error_curve(), error_curve()]):
        with pytest.raises(ValueError, match=r"callbacks: the flow had \['ErrorCurve'\]"):
            make(tmp_path, callbacks=callbacks).fit(X, Y, follow, resume=True)
    other = ErrorCurve(LABELS, LABELS[:7], nugget=0.1, every=3, rng=np.random.default_rng(5))
    with pytest.raises(ValueError, match="every=3, but the flow was looked at every 2 layers"):
        make(tmp_path, callbacks=[other]).fit(X, Y, follow, resume=True)


# ---- what does not fit ------------------------------------------------------------------------


def test_a_folder_in_use_needs_resume(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path).fit(X, Y, follow)
    with pytest.raises(FileExistsError, match=r"checkpoint: .* holds a flow already: pass resume"):
        make(tmp_path).fit(X, Y, follow)
    with pytest.raises(ValueError, match="resume=True needs the checkpoint"):
        make().fit(X, Y, follow, resume=True)
    with pytest.raises(TypeError, match="resume must be True or False"):
        make(tmp_path).fit(X, Y, follow, resume=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 20}, r"batch_size \(30 there, 20 here\)"),
        ({"nugget": 2.0}, r"nugget \(1.0 there, 2.0 here\)"),
        ({"nugget": {0: 1.0}}, r"nugget \(1.0 there, \{'0': 1.0\} here\)"),
        ({"nugget": lambda _: 1.0}, r"nugget \(1.0 there, None here\)"),
        ({"step_over": "batch"}, "step_over"),
        ({"rank": 4, "shrink_every": 2}, r"rank .*shrink_every"),
        ({"dtype": "float64"}, r"dtype .*X, follow\['test'\]"),
        ({"random_state": 1}, "random_state"),
        ({"random_state": np.random.Generator(np.random.MT19937(0))}, "random_state"),
    ],
)
def test_other_settings(rng, tmp_path, change, message):
    X, Y, follow = data(rng)
    make(tmp_path, n_layers=6).fit(X, Y, follow)
    with pytest.raises(ValueError, match=rf"checkpoint: .* holds a flow with other .*{message}"):
        make(tmp_path, **change).fit(X, Y, follow, resume=True)


def test_other_data(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path, n_layers=6).fit(X, Y, follow)
    other = X.copy()
    other[3, 2] += 1e-4
    for arguments, names in (
        ((other, Y, follow), "X:"),
        ((X, Y[::-1], follow), "Y:"),
        ((X[:50], Y[:50], follow), "X, Y:"),
        ((X, Y, {**follow, "test": other[:7]}), r"follow\['test'\]:"),
        ((X, Y, {"test": follow["test"]}), r"follow\['more'\]:"),
        ((X, Y), r"follow\['test'\], follow\['more'\]:"),
    ):
        with pytest.raises(ValueError, match=rf"holds a flow with other {names}"):
            make(tmp_path).fit(*arguments, resume=True)
    other_kernel = make(tmp_path)
    other_kernel.kernel = kernels.Laplacian(3.0)
    with pytest.raises(ValueError, match="kernel"):
        other_kernel.fit(X, Y, follow, resume=True)
    make(tmp_path).fit(X.astype(np.float32), Y.astype(int), follow, resume=True)


def test_functions_cannot_be_compared(rng, tmp_path, caplog):
    X, Y, follow = data(rng)
    options = {"nugget": lambda _: 1.0}
    make(tmp_path, n_layers=6, **options).fit(X, Y, follow)
    with caplog.at_level(logging.WARNING, "kflow"):
        flow = make(tmp_path, **options).fit(X, Y, follow, resume=True)
    assert "nugget: functions cannot be compared" in caplog.text
    assert_same(flow, make(**options).fit(X, Y, follow))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder or None"),
        ({"checkpoint": ""}, ValueError, "checkpoint is empty"),
        ({"every": 0}, ValueError, "every must be at least 1"),
        ({"every": 1.5}, TypeError, "every must be a whole number"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        KernelFlow(n_layers=1, **options)


def test_a_file_is_no_folder(rng, tmp_path):
    X, Y, follow = data(rng)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="file"):
        make(tmp_path / "file").fit(X, Y, follow)


# ---- damage -----------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(rng, tmp_path, monkeypatch):
    """A checkpoint after 12 layers, the data, and the flow that it should become."""
    arguments = data(rng)
    options = SETTINGS["rank"]
    monkeypatch.setattr("kflow.storage.checkpoint._PART", np.inf)
    make(tmp_path, n_layers=12, **options).fit(*arguments)
    return tmp_path, arguments, make(**options).fit(*arguments), options


def flip(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 30, -1])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_block(checkpoint, place, cut):
    folder, arguments, expected, options = checkpoint
    paths = blocks(folder)
    for number in (0, 2, len(paths) - 1):
        whole = paths[number].read_bytes()
        if cut:
            paths[number].write_bytes(whole[:place])
        else:
            flip(paths[number], place)
        with pytest.raises(ModelFileError, match=rf"{paths[number].name} is damaged"):
            make(folder, **options).fit(*arguments, resume=True)
        paths[number].write_bytes(whole)
    for path in paths[2:]:  # as the error says
        path.unlink()
    assert_same(make(folder, **options).fit(*arguments, resume=True), expected)


def test_a_gap(checkpoint):
    folder, arguments, _, options = checkpoint
    first, second, *_ = blocks(folder)
    second.unlink()
    with pytest.raises(ModelFileError, match=r"block-.* starts with layer \d+, where .* restore"):
        make(folder, **options).fit(*arguments, resume=True)
    first.unlink()
    with pytest.raises(ModelFileError, match=r"block-.* starts with layer"):
        make(folder, **options).fit(*arguments, resume=True)


def test_a_foreign_block(checkpoint, tmp_path):
    folder, arguments, _, options = checkpoint
    other = tmp_path / "other"
    make(other, n_layers=12, **{**options, "random_state": 1}).fit(*arguments)
    shutil.copy(blocks(other)[0], blocks(folder)[0])
    with pytest.raises(ModelFileError, match=r"block-00000000.* belongs to another flow"):
        make(folder, **options).fit(*arguments, resume=True)


def test_a_renamed_block(checkpoint):
    folder, arguments, _, options = checkpoint
    paths = blocks(folder)
    shutil.copy(paths[0], paths[1])
    with pytest.raises(ModelFileError, match=rf"{paths[1].name} does not fit"):
        make(folder, **options).fit(*arguments, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow.json", "basis.safetensors"])
def test_a_damaged_header(checkpoint, name):
    folder, arguments, _, options = checkpoint
    path = folder / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
        flip(path, place)
        with pytest.raises(ModelFileError, match=name):
            make(folder, **options).fit(*arguments, resume=True)
        path.write_bytes(whole[:place])
        with pytest.raises(ModelFileError, match=name):
            make(folder, **options).fit(*arguments, resume=True)
        path.write_bytes(whole)
    path.unlink()
    with pytest.raises(ModelFileError, match=rf"{name} is missing: restore it"):
        make(folder, **options).fit(*arguments, resume=True)


def test_a_newer_header(checkpoint):
    folder, arguments, _, options = checkpoint
    header = json.loads((folder / "flow.json").read_text())
    (folder / "flow.json").write_text(json.dumps({**header, "version": 2}))
    with pytest.raises(ModelFileError, match=r"flow.json: .* newer kflow: upgrade"):
        make(folder, **options).fit(*arguments, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "folder"])
def test_damaged_points_are_made_again(checkpoint, damage, tmp_path, caplog):
    folder, arguments, expected, options = checkpoint
    path = folder / "points.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "flip":
        flip(path, -1)
    elif damage == "foreign":
        make(tmp_path / "other", n_layers=12, **options).fit(*arguments)
        shutil.copy(tmp_path / "other" / "points.safetensors", path)
    else:
        path.unlink()
        path.mkdir()
    with caplog.at_level(logging.WARNING, "kflow"):
        flow = make(folder, **options).fit(*arguments, resume=True)
    assert "the points are made again" in caplog.text
    assert_same(flow, expected)


def test_leftovers_are_cleaned(checkpoint):
    folder, arguments, expected, options = checkpoint
    stray = folder / "block-00000012.safetensorsx1y2.partial"
    stray.write_bytes(b"x")
    (folder / "block-x.safetensors").write_bytes(b"not mine")
    assert_same(make(folder, **options).fit(*arguments, resume=True), expected)
    assert not stray.exists()


# ---- full disks -------------------------------------------------------------------------------


class FullDisk:
    """Files of `_files` that take `room` bytes in all, then none."""

    def __init__(self, room, patch):
        self.room = room
        fdopen = os.fdopen

        def opened(handle, mode):
            file = fdopen(handle, mode)
            write = file.write

            class Wrapped:
                def __enter__(_):
                    return _

                def __exit__(_, *error):
                    file.close()

                def __getattr__(_, name):
                    return getattr(file, name)

                def write(_, piece):
                    if len(piece) > self.room:
                        write(bytes(piece[: self.room]))
                        self.room = 0
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    self.room -= len(piece)
                    return write(piece)

            return Wrapped()

        patch.setattr(_files.os, "fdopen", opened)


@pytest.mark.slow
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_a_disk_that_fills_up_anywhere(rng, tmp_path, monkeypatch, options):
    X, Y, follow = data(rng)
    expected = make(**options).fit(X, Y, follow)
    make(tmp_path / "whole", **options).fit(X, Y, follow)
    size = sum(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    for number, room in enumerate(np.linspace(0, size, 12).astype(int)):
        folder = tmp_path / str(number)
        flow = make(folder, **options)
        with monkeypatch.context() as patch:
            disk = FullDisk(room, patch)
            try:
                flow.fit(X, Y, follow)
            except StorageError as error:
                assert "free space there, then call run() again" in str(error)  # noqa: PT017
                assert flow.n_layers_ > 0
                at_rest = flow.points_  # of use in memory
                with pytest.raises(StorageError):
                    flow.run(5)
                np.testing.assert_array_equal(flow.points_, at_rest)
                disk.room = 10**9
                assert_same(flow.run(14 - flow.n_layers_), expected)
            except OSError as error:  # not even the header
                assert error.errno == errno.ENOSPC  # noqa: PT017
                assert not flow.is_fitted
        assert not list(folder.glob("*.partial"))
        assert_same(make(folder, **options).fit(X, Y, follow, resume=True), expected)


def test_a_disk_that_has_no_room_from_the_start(rng, tmp_path, monkeypatch):
    X, Y, follow = data(rng)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(StorageError, match=r"14 layers need .* free: pass another folder"):
        make(tmp_path).fit(X, Y, follow)
    assert not has_flow(tmp_path)


def test_an_error_keeps_what_is_done(rng, tmp_path):
    X, Y, follow = data(rng)
    X[5] = X[6]
    options = {"nugget": {0: 1.0, 8: 0.0}, "batch_size": 60}
    flow = make(tmp_path, **options)
    with pytest.raises(kflow.SingularKernelError):
        flow.fit(X, Y, follow)
    assert [block.first for block in map(block_of, blocks(tmp_path))] == [0, 5]
    again = make(tmp_path, **options)
    with pytest.raises(kflow.SingularKernelError):
        again.fit(X, Y, follow, resume=True)
    assert again.n_layers_ == 8
    assert_same(again, flow)


# ---- several at once --------------------------------------------------------------------------


def test_one_at_a_time(rng, tmp_path):
    X, Y, follow = data(rng)
    make(tmp_path, n_layers=6).fit(X, Y, follow)
    flow = make(tmp_path, n_layers=6).fit(X, Y, follow, resume=True)
    with locked(tmp_path):
        with pytest.raises(BlockingIOError, match="another process runs the flow"):
            make(tmp_path).fit(X, Y, follow, resume=True)
        with pytest.raises(BlockingIOError, match="another process runs the flow"):
            flow.run(1)
    assert flow.run(1).n_layers_ == 7


@pytest.mark.parametrize("how", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow))])
def test_copies_cannot_both_go_on(rng, tmp_path, how):
    X, Y, follow = data(rng)
    flow = make(tmp_path, n_layers=6).fit(X, Y, follow)
    twin = how(flow)
    assert_same(twin, flow)
    twin.run(2)
    with pytest.raises(StorageError, match="a copy of the flow has gone on there"):
        flow.run(1)
    assert flow.n_layers_ == 6
    assert_same(make(tmp_path, n_layers=8).fit(X, Y, follow, resume=True), twin)


def test_an_interrupt_between_the_file_and_the_books(rng, tmp_path, monkeypatch):
    X, Y, follow = data(rng)
    expected = make().fit(X, Y, follow)
    flow = make(tmp_path, n_layers=4).fit(X, Y, follow)
    with monkeypatch.context() as patch:
        from kflow.storage import folder_layers as layers

        def written(*arguments, write=layers.write_block):
            write(*arguments)
            raise KeyboardInterrupt

        patch.setattr(layers, "write_block", written)
        with pytest.raises(KeyboardInterrupt):
            flow.run(3)
    assert flow.state_.store.n_pending == 3
    assert_same(flow.run(7), expected)
    assert_same(make(tmp_path).fit(X, Y, follow, resume=True), expected)


# ---- the log ----------------------------------------------------------------------------------


def test_the_log(rng, tmp_path, caplog, capsys, monkeypatch):
    X, Y, follow = data(rng)
    monkeypatch.setattr("kflow.storage.checkpoint._PART", np.inf)
    with caplog.at_level(logging.INFO, "kflow"):
        make(tmp_path, n_layers=7).fit(X, Y, follow)
        make(tmp_path).fit(X, Y, follow, resume=True)
    for text in (
        "wrote layers 0 to 4:",
        "wrote layers 5 to 6:",
        "2 layers to go, about 0 s",
        "wrote the points after 5 layers",
        "resumed after layer 7: the points went through 0 layers again",
    ):
        assert text in caplog.text
    assert capsys.readouterr() == ("", "")


# ---- processes --------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import sys
    import numpy as np, kflow
    from kflow import kernels
    from kflow.presets import FIXED
    options = eval(sys.argv[2])
    rng = np.random.default_rng(3)
    y = np.arange(60) % 3
    X = 2 * rng.normal(size=(3, 8))[y] + 0.4 * rng.normal(size=(60, 8))
    print("data", flush=True)
    if options.pop("estimator", False):
        own = dict(
            n_layers=150, batch_size=30, checkpoint=sys.argv[1], every=5, random_state=0,
            early_stopping=True, validation_fraction=0.2, **options)
        model = kflow.KernelFlowClassifier(**{**FIXED, **own})
        model.fit(X, y, {"test": X[:7] + 0.1}, resume=True)
        flow = model.flow_
        extra = [str(model.stopping_.to_state()), model.predict(X).tolist()]
    else:
        flow = kflow.KernelFlow(
            kernels.Gaussian(3.0), n_layers=150, batch_size=30, nugget=1.0, step="rms",
            step_size=0.002, checkpoint=sys.argv[1], every=5, random_state=0, **options)
        flow.fit(X, kflow.one_hot(y), {"test": X[:7] + 0.1}, resume=True)
        extra = []
    import hashlib, json
    digest = hashlib.sha256()
    for array in (flow.points_, *flow.follow_.values(), flow.transform(X),
                  *(v for n, v in flow.history_.items() if n != "seconds")):
        digest.update(np.ascontiguousarray(array))
    print(json.dumps([flow.n_layers_, digest.hexdigest(), extra]))
    """
)


def start(folder, options):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), repr(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"rank": "auto", "shrink_every": 30, "shrink_tolerance": 0.01, "step_over": "batch"},
        {"estimator": True},
    ],
    ids=["flow", "estimator"],
)
def test_killed_processes(rng, tmp_path, options, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "whole"), repr(options)])
    begun = time.perf_counter()
    exec(compile(PROGRAM, "program", "exec"), {})
    seconds = time.perf_counter() - begun
    expected = capsys.readouterr().out
    folder = tmp_path / "killed"
    for _ in range(2):
        before = n_written(folder)
        with start(folder, options) as process:
            assert process.stdout.readline() == "data\n", process.stderr.read()
            time.sleep(float(rng.uniform(0, seconds)))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        assert n_written(folder) >= before
    with start(folder, options) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert output == expected
    assert not list(folder.glob("*.partial"))


def n_written(folder):
    return max((block_of(path).end for path in blocks(folder)), default=0)


@pytest.mark.slow
def test_a_file_that_may_not_grow(tmp_path):
    """What the system itself refuses to write."""
    program = textwrap.dedent(
        """
        import resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        import numpy as np, kflow
        X = np.random.default_rng(0).normal(size=(50, 30))
        flow = kflow.KernelFlow(n_layers=25, batch_size=20, checkpoint=sys.argv[1], every=10,
                                random_state=0)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            flow.fit(X, X[:, 0] > 0)
        except kflow.StorageError as error:
            assert "layers 0 to 9 could not be written" in str(error), error
        else:
            raise AssertionError
        assert flow.n_layers_ == 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        flow.run(15)
        expected = kflow.KernelFlow(n_layers=25, batch_size=20, random_state=0).fit(X, X[:, 0] > 0)
        np.testing.assert_array_equal(flow.points_, expected.points_)
        again = kflow.KernelFlow(n_layers=25, batch_size=20, checkpoint=sys.argv[1],
                                 random_state=0).fit(X, X[:, 0] > 0, resume=True)
        np.testing.assert_array_equal(again.points_, expected.points_)
        """
    )
    assert resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "checkpoint")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path / "checkpoint" / "block-00000000.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("settings", [1]),
        ("data", None),
        ("generator", 3),
        ("generator", {"bit_generator": ["PCG64"]}),
        ("kernel", {"kernel": "gaussian", "length_scale": "one"}),
        ("kernel", []),
        ("flow", 7),
        ("energy_dropped", [1]),
        ("engine", [1, 2, 3]),
        ("version", "one"),
    ],
)
def test_an_edited_header_with_a_right_checksum(rng, tmp_path, name, value):
    X, Y, _ = data(rng)
    make(tmp_path / "c", n_layers=2, random_state=None).fit(X, Y)
    path = tmp_path / "c" / "flow.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    content[name] = value
    path.write_text(json.dumps({**content, "sha256": _digest(content)}))
    with pytest.raises((ModelFileError, ValueError), match=r"flow\.json|/c") as raised:
        make(tmp_path / "c", n_layers=2, random_state=None).fit(X, Y, resume=True)
    assert type(raised.value) in (ModelFileError, ValueError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generator", 3),
        ("generator", {}),
        ("callbacks", 3),
        ("callbacks", [3]),
        ("ended", "no"),
        ("engine", 5),
    ],
)
def test_an_edited_state_with_a_right_checksum(rng, tmp_path, monkeypatch, name, value):
    X, Y, _ = data(rng)
    flow = make(tmp_path / "c", n_layers=2)
    write = FolderLayers.write
    monkeypatch.setattr(
        FolderLayers,
        "write",
        lambda layers, records, reduction, state: write(
            layers, records, reduction, {**state, name: value}
        ),
    )
    flow.fit(X, Y)
    with pytest.raises(ModelFileError, match="/c is damaged"):
        make(tmp_path / "c", n_layers=2).fit(X, Y, resume=True)


def test_points_on_the_disk_are_not_lost_without_a_word(rng, tmp_path):
    X, Y, _ = data(rng)
    options = {"memory_budget": 1e7, "step_over": "batch"}
    flow = make(tmp_path / "c", n_layers=3, **options).fit(X, Y)
    with pytest.warns(UserWarning, match="60 training points .* not in memory: the file has"):
        flow.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="the copy has its layers"):
        copied = pickle.loads(pickle.dumps(flow))
    for other in (kflow.load(tmp_path / "model"), copied):
        np.testing.assert_array_equal(other.transform(X), flow.points_)
        with pytest.raises(ValueError, match="no training points"):
            other.run(1)
