"""Flows of points that are not in memory: the same flow, to the last bit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import kflow
from kflow import DivergenceError, SingularKernelError, StorageError, kernels
from kflow.points.disk import DiskPlace

OPTIONS = {
    "n_layers": 13,
    "batch_size": 30,
    "nugget": 0.1,
    "step": "rms",
    "step_size": 0.05,
    "step_over": "batch",
    "random_state": 1,
}
BUDGET = 2_000_000


def make_data(n=2000, d=5, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(dtype)
    return X, np.sign(X[:, 0] * X[:, 1])


def streamed(folder, **options):
    settings = {**OPTIONS, "checkpoint": folder, "every": 5, "memory_budget": BUDGET, **options}
    return kflow.KernelFlow(**settings)


def small_shards(folder, n_bytes):
    """The folder that a memory budget stands for, with shards of a given size."""
    return DiskPlace(folder / "points", BUDGET, largest_shard=n_bytes)


def all_points(flow):
    return np.concatenate([points for _, points in flow.iterate_points(reduced=True)])


def assert_same(flow, expected):
    """The same flow, to the last bit."""
    assert flow.n_layers_ == expected.n_layers_
    np.testing.assert_array_equal(all_points(flow), expected.reduced_points_)
    np.testing.assert_array_equal(flow.reduced_points_, expected.reduced_points_)
    np.testing.assert_array_equal(flow.points_, expected.points_)
    for name in kflow.layers.block.HISTORY:
        if name != "seconds":
            np.testing.assert_array_equal(flow.history_[name], expected.history_[name])
    assert flow.rank_ == expected.rank_
    assert flow.kernel_ == expected.kernel_
    for name, points in expected.reduced_follow_.items():
        np.testing.assert_array_equal(flow.reduced_follow_[name], points)
    assert flow.state_.rng.bit_generator.state == expected.state_.rng.bit_generator.state


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rank": "auto", "shrink_every": 4, "shrink_tolerance": 0.3},
        {"rank": 3, "n_halves": 3, "gradient_cap": 1.5},
        {"step": "relative", "kernel": kernels.Laplacian(2.0)},
        {"step": "fixed", "step_size": 0.01, "nugget": {0: 0.1, 7: 1.0}},
        {"every": 1},
        {"n_layers": 0},
    ],
    ids=str,
)
def test_the_same_flow(options, dtype, tmp_path):
    X, Y = make_data()
    test = X[:17] + 0.1
    options = {"dtype": dtype, **options}
    flow = streamed(tmp_path / "flow", **options).fit(X, Y, follow={"test": test})
    options.pop("every", None)
    expected = kflow.KernelFlow(**{**OPTIONS, **options}).fit(X, Y, follow={"test": test})
    assert_same(flow, expected)
    np.testing.assert_array_equal(flow.transform(X), expected.transform(X))
    np.testing.assert_array_equal(flow.transform(test, reduced=True), flow.reduced_follow_["test"])


def test_more_layers_in_several_runs(tmp_path):
    X, Y = make_data()
    flow = streamed(tmp_path, n_layers=3, rank="auto", shrink_every=4).fit(X, Y)
    for n in (0, 1, 4, 5):
        flow.run(n)
    expected = kflow.KernelFlow(**OPTIONS, rank="auto", shrink_every=4).fit(X, Y)
    assert_same(flow, expected)


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 31, 500])
def test_all_shard_sizes(n, tmp_path):
    X, Y = make_data(n)
    expected = kflow.KernelFlow(**OPTIONS).fit(X, Y)
    sizes = (31 * 20, 10**6) if n > 100 else (20, 31 * 20, 10**6)
    for number, bytes_of_shard in enumerate(sizes):
        folder = tmp_path / str(number)
        flow = streamed(folder).fit(X, Y, client=small_shards(folder, bytes_of_shard))
        assert_same(flow, expected)
        points_of_shard = max(1, bytes_of_shard // 20)
        found = list((tmp_path / str(number)).rglob("points-*"))
        assert len(found) == -(-n // points_of_shard)


def npy(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def zarr_array(X, folder):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(
        store=folder / "X.zarr", shape=X.shape, chunks=(300, X.shape[1]), dtype=X.dtype
    )
    array[:] = X
    return array


def hdf5(X, folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "X.h5", "w") as file:
        file["X"] = X
    return h5py.File(folder / "X.h5")["X"]


def table(X, _):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [npy, zarr_array, hdf5, table, lambda X, _: X.tolist()])
def test_every_kind_of_array(kind, tmp_path):
    X, Y = make_data(700)
    flow = streamed(tmp_path / "flow", rank="auto").fit(kind(X, tmp_path), Y)
    assert_same(flow, kflow.KernelFlow(**OPTIONS, rank="auto").fit(X, Y))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [npy, zarr_array, hdf5])
def test_targets_that_are_not_in_memory(kind, tmp_path):
    X, Y = make_data(700)
    Y = kflow.one_hot(Y)
    flow = streamed(tmp_path / "flow").fit(X, kind(Y, tmp_path))
    assert_same(flow, kflow.KernelFlow(**OPTIONS).fit(X, Y))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[700], [1, 299, 0, 400]])
def test_a_stream_of_chunks(sizes, dtype, tmp_path):
    X, Y = make_data(700)
    ends = np.cumsum([0, *sizes])
    chunks = ((X[a:b], Y[a:b]) for a, b in pairwise(ends))
    flow = streamed(tmp_path, rank="auto", dtype=dtype).fit(chunks)
    assert_same(flow, kflow.KernelFlow(**OPTIONS, rank="auto", dtype=dtype).fit(X, Y))


def test_classes_are_recognised(tmp_path):
    X, Y = make_data(300)
    for number, targets in enumerate((Y, kflow.one_hot(Y), X[:, :1], X[:, :2])):
        flow = streamed(tmp_path / str(number), n_layers=1).fit(X, targets)
        assert np.isnan(flow.history_["class_distance_ratio"][0]) == (number > 1)


def test_wrong_arguments(tmp_path):
    X, Y = make_data(100)
    bad = X.copy()
    bad[70, 2] = np.nan
    for message, X_given, Y_given, options in (
        ("needs step_over='batch'", X, Y, {"step_over": "all"}),
        ("pass checkpoint=<folder>", X, Y, {"checkpoint": None}),
        ("is too little: [0-9]+ bytes are needed", X, Y, {"memory_budget": 1000}),
        ("batch_size=101 exceeds the 100 rows", X, Y, {"batch_size": 101}),
        ("X contains NaN", bad, Y, {}),
        ("Y has one class or value only", X, np.ones(100), {}),
        ("Y must have 100 rows", X, Y[:99], {}),
        ("X must have two dimensions", X[0], Y, {}),
        ("X is empty", X[:0], Y[:0], {}),
        ("Y contains NaN", X, bad[:, 2], {}),
        ("Y is missing", X, None, {}),
        ("yields no points", iter([]), None, {}),
        ("must yield pairs of points and targets, but chunk 0 is no pair", iter([X]), None, {}),
        ("X of chunk 1 must have 5 columns", [(X, Y), (X[:, 1:], Y)], None, {}),
        ("Y of chunk 0 must have 100 rows", [(X, Y[1:])], None, {}),
        ("Y of chunk 1 contains NaN", [(X, Y), (X, bad[:, 2])], None, {}),
        ("X is missing", None, None, {}),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            streamed(tmp_path / "flow", **options).fit(X_given, Y_given)
    with pytest.raises(TypeError, match="X must be an array or an iterator"):
        streamed(tmp_path / "flow").fit(1)
    with pytest.raises(TypeError, match=r"Y is missing: .* needs a memory_budget"):
        streamed(None, memory_budget=None, checkpoint=None).fit(iter([(X, Y)]))
    with pytest.raises(ValueError, match="memory_budget must be a number of bytes"):
        streamed(tmp_path, memory_budget=-1)
    with pytest.raises(TypeError, match="memory_budget must be a number"):
        streamed(tmp_path, memory_budget="1 GB")


def test_a_failing_layer_leaves_the_flow_at_the_last_good_one(tmp_path):
    X, Y = make_data()
    options = {"step": "fixed", "step_size": {0: 0.01, 7: 1e9}}
    flow = streamed(tmp_path, **options)
    with pytest.raises(DivergenceError, match="the flow diverged in layer 7"):
        flow.fit(X, Y)
    expected = kflow.KernelFlow(**{**OPTIONS, **options})
    with pytest.raises(DivergenceError):
        expected.fit(X, Y)
    assert flow.n_layers_ == 7
    for one in (flow, expected):
        one.step_size = 0.01
        one.run(3)
    assert_same(flow, expected)


def test_duplicates_are_named(tmp_path):
    X, Y = make_data(30)
    X[9] = X[4]
    with pytest.raises(SingularKernelError, match=r"rows (9 and 4|4 and 9)"):
        streamed(tmp_path, nugget=0.0).fit(X, Y)


def test_callbacks_are_called_after_blocks(tmp_path):
    X, Y = make_data()
    seen = []

    def stop(flow):
        seen.append((flow.n_layers_, len(flow.history_["rho"])))
        return flow.n_layers_ >= 10

    flow = streamed(tmp_path, n_layers=100, callbacks=[stop]).fit(X, Y)
    assert seen == [(5, 5), (10, 10)]
    assert_same(flow, kflow.KernelFlow(**{**OPTIONS, "n_layers": 10}).fit(X, Y))


@pytest.mark.slow
@pytest.mark.parametrize("failing", [1, 4, 9])
def test_a_full_disk(failing, tmp_path, monkeypatch):
    X, Y = make_data()
    real = kflow.points.disk.write_points
    calls = []

    def write(*args):
        calls.append(args)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr("kflow.points.disk.write_points", write)
    flow = streamed(tmp_path)
    with pytest.raises(StorageError, match="free space there, then call run"):
        flow.fit(X, Y, client=small_shards(tmp_path, 700 * 20))
    flow.run(13 - flow.n_layers_)
    assert_same(flow, kflow.KernelFlow(**OPTIONS).fit(X, Y))


def test_points_that_will_not_fit_are_noticed_first(tmp_path, monkeypatch):
    X, Y = make_data()
    usage = kflow.points.disk.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        "kflow.points.disk.shutil.disk_usage", lambda _: usage._replace(free=2000 * 5 * 4 - 1)
    )
    with pytest.raises(StorageError, match=re.escape("the points need")):
        streamed(tmp_path).fit(X, Y)


# ---- stop and go ------------------------------------------------------------------------------


def interrupted_after(n_blocks):
    """Return a callback that fails after so many blocks."""
    seen = []

    def callback(_):
        seen.append(None)
        if len(seen) == n_blocks:
            raise RuntimeError("stop")

    return callback


@pytest.mark.slow
@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"rank": "auto", "shrink_every": 4}], ids=str)
def test_a_resumed_flow_is_the_uninterrupted_one(n_blocks, options, tmp_path):
    X, Y = make_data()
    test = X[:9] + 0.1
    flow = streamed(tmp_path, callbacks=[interrupted_after(n_blocks)], **options)
    with pytest.raises(RuntimeError):
        flow.fit(X, Y, follow={"test": test})
    again = streamed(tmp_path, **options).fit(X, Y, follow={"test": test}, resume=True)
    expected = kflow.KernelFlow(**OPTIONS, **options).fit(X, Y, follow={"test": test})
    assert_same(again, expected)
    more = streamed(tmp_path, **{**options, "n_layers": 17})
    more.fit(X, Y, follow={"test": test}, resume=True)
    assert_same(more, expected.run(4))
    # In memory, too: whose points are where does not belong to the flow.
    in_memory = kflow.KernelFlow(
        **{**OPTIONS, **options, "n_layers": 18}, checkpoint=tmp_path, every=5
    )
    assert_same(in_memory.fit(X, Y, follow={"test": test}, resume=True), expected.run(1))


@pytest.mark.slow
def test_points_that_lag_behind_or_are_lost(tmp_path, monkeypatch):
    X, Y = make_data()
    # The place that a memory_budget leads to, with several shards.
    small = partial(DiskPlace, largest_shard=700 * 20)
    monkeypatch.setattr("kflow.flow.start.DiskPlace", small)
    options = {"rank": "auto", "shrink_every": 4, "shrink_tolerance": 0.3}
    flow = streamed(tmp_path / "flow", n_layers=5, **options).fit(X, Y)
    files = sorted((tmp_path / "flow" / "points").glob("points-*"))
    assert len(files) > 2
    early = files[0].read_bytes()
    flow.run(4)
    files[0].write_bytes(early)
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-1])  # cut short
    again = streamed(tmp_path / "flow", **options).fit(X, Y, resume=True)
    assert_same(again, kflow.KernelFlow(**OPTIONS, **options).fit(X, Y))


def test_another_division_or_an_earlier_layer(tmp_path):
    X, Y = make_data()
    for number, rows in enumerate((700, 600, 600)):
        shards = small_shards(tmp_path, rows * 20)
        flow = streamed(tmp_path, n_layers=5 + number)
        flow.fit(X, Y, resume=number > 0, client=shards)
        assert len(list((tmp_path / "points").iterdir())) == -(-2000 // rows)
    assert_same(flow, kflow.KernelFlow(**{**OPTIONS, "n_layers": 7}).fit(X, Y))
    for path in sorted(tmp_path.glob("block-*"))[1:]:
        path.unlink()
    flow = streamed(tmp_path, n_layers=6).fit(X, Y, resume=True, client=shards)
    assert_same(flow, kflow.KernelFlow(**{**OPTIONS, "n_layers": 6}).fit(X, Y))


def test_a_stream_is_read_once(tmp_path):
    X, Y = make_data(500)
    flow = streamed(tmp_path, callbacks=[interrupted_after(1)])
    with pytest.raises(RuntimeError):
        flow.fit([(X[:300], Y[:300]), (X[300:], Y[300:])])
    for chunks in (None, iter([])):
        again = streamed(tmp_path).fit(chunks, resume=True)
        assert_same(again, kflow.KernelFlow(**OPTIONS).fit(X, Y))


def test_other_data_are_not_taken_for_those_of_the_flow(tmp_path):
    X, Y = make_data(500)
    streamed(tmp_path).fit(X, Y)
    X[400, 2] += 1
    with pytest.raises(ValueError, match=r"holds a flow with other X\b"):
        streamed(tmp_path).fit(X, Y, resume=True)
    with pytest.raises(FileExistsError, match="resume=True"):
        streamed(tmp_path).fit(X, Y)


CYCLE = """
import sys
import numpy as np
import kflow
rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 5))
flow = kflow.KernelFlow(
    n_layers=60, batch_size=40, nugget=0.1, step="rms", step_size=0.02, step_over="batch",
    random_state=1, checkpoint=sys.argv[1], every=5, memory_budget=2e6, rank="auto",
    shrink_every=15, shrink_tolerance=0.3,
)
flow.fit(X, np.sign(X[:, 0]), resume=True)
np.save(sys.argv[1] + ".npy", flow.reduced_points_)
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    command = [sys.executable, "-c", CYCLE, str(tmp_path / "flow")]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    expected = np.load(tmp_path / "flow.npy")
    shutil.rmtree(tmp_path / "flow")
    rng = np.random.default_rng(5)
    for _ in range(4):
        process = subprocess.Popen(command)
        time.sleep(seconds * rng.uniform(0.4, 0.9))
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "flow.npy"), expected)


# ---- memory -----------------------------------------------------------------------------------

MEMORY = """
import resource
import sys
import numpy as np
import kflow

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def chunks(n):
    for start in range(0, n, 10_000):
        rng = np.random.default_rng(start)
        X = rng.standard_normal((10_000, 32), np.float32)
        yield X, np.sign(X[:, 0])

def fit(n, name):
    settings = dict(batch_size=60, nugget=0.1, step="rms", step_size=0.02, step_over="batch")
    flow = kflow.KernelFlow(
        n_layers=4, every=2, random_state=0, checkpoint=sys.argv[1] + name, memory_budget=20e6,
        rank=20, **settings
    )
    return flow.fit(chunks(n))

fit(20_000, "first")
before = peak()
fit(1_000_000, "second")
print(peak() - before)
"""


@pytest.mark.slow
def test_memory_keeps_within_the_budget(tmp_path):
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 20e6  # the data have 128 MB, and as many as targets and coordinates
