from __future__ import annotations

import gc
import logging
import os
import signal
import time

import numpy as np
import pytest

import kflow
from kflow.data.labels import ClassLabels
from kflow.data.sources import as_source
from kflow.errors import StorageError
from kflow.flow.leader import Leader
from kflow.flow.streaming import stream
from kflow.layers.block import Block
from kflow.layers.motion import RemoteMotion
from kflow.points.protocol import PointsRequest, Shards

dask_distributed = pytest.importorskip("distributed")
from kflow.points import cluster_worker as worker  # noqa: E402
from kflow.points.cluster import DaskPoints  # noqa: E402

N, D, N_LAYERS, EVERY = 400, 4, 17, 4
rng = np.random.default_rng(0)
X = rng.normal(size=(N, D)) @ np.diag([1.0, 1.0, 0.5, 1e-3])
Y = np.sign(X[:, 0] * X[:, 1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
        local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with dask_distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        yield client


class Run:
    """A flow whose points are on a cluster, and what it takes to drive it."""

    def __init__(self, rank=None, shrink_every=0, dtype="float32", x=X):
        self.options = {
            "batch_size": 40,
            "every": EVERY,
            "nugget": 0.1,
            "step": "rms",
            "step_size": 0.1,
            "step_over": "batch",
            "random_state": 3,
            "rank": rank,
            "shrink_every": shrink_every,
            "shrink_tolerance": 0.1,
            "dtype": dtype,
        }
        flow = kflow.KernelFlow(n_layers=0, **self.options).fit(X, Y)
        targets = Y[:, None]
        self.flow, self.rng, self.blocks = flow, flow.state_.rng, []
        self.leader = Leader(
            settings=flow,
            n_points=N,
            n_fixed=flow.state_.points.n_fixed,
            motion=flow.motion(flow.kernel_),
            targets=lambda rows: np.ascontiguousarray(targets[rows]),
            labels=ClassLabels([targets]),
        )
        self.dtype = np.dtype(dtype)
        self.source = as_source(x, self.dtype, "X")

    def points(self, client, size=90, **options):
        def blocks_since(first, end):
            return (block for block in self.blocks if first <= block.first and block.end <= end)

        request = PointsRequest(
            source=self.source,
            subspace=self.flow.state_.subspace,
            dtype=self.dtype,
            batch_size=self.flow.batch_size,
            every=EVERY,
            motion=self.flow.motion(self.flow.kernel_),
            flow_id="",
            blocks_since=blocks_since,
        )
        return DaskPoints(client, Shards(N, size), request, **options)

    def stream(self, points, first=0, end=N_LAYERS, then=lambda: None):
        """Run layers; `then` is called after each block was made, before it moves the points."""

        def keep(block, generator):
            self.blocks.append(block)
            self.rng.bit_generator.state = generator
            then()
            return False

        assert stream(self.leader, points, self.rng, first, end - first, keep) is None

    def check(self, points, end=N_LAYERS):
        expected = kflow.KernelFlow(n_layers=end, **self.options).fit(X, Y)
        shards = list(points.shards(end))
        got = np.concatenate([shard.sets[""] for shard in shards])
        assert got.dtype == self.dtype
        np.testing.assert_array_equal(got, expected.reduced_points_)
        frozen = np.concatenate([shard.frozen[""] for shard in shards])
        np.testing.assert_array_equal(frozen, expected.positions().frozen[""])


def workers(client):
    return list(client.scheduler_info(n_workers=-1)["workers"])


def kill(client, addresses):
    for pid in client.run(os.getpid, workers=addresses).values():
        os.kill(pid, signal.SIGKILL)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_workers(client):
    """How many shards the workers hold, all together."""

    def count():

        return len(worker.shards_here)

    return sum(client.run(count).values())


def sabotage(client, action, addresses=None):
    """Let something happen in workers as soon as the next shard is to move."""

    def patch():
        from kflow.layers.positions import Positions

        through = Positions.through

        def instead(*arguments):
            Positions.through = through
            action()
            return through(*arguments)

        Positions.through = instead

    client.run(patch, workers=addresses)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "shrink_every", "size", "dtype"),
    [
        (None, 0, N, "float64"),  # one shard
        (None, 0, 90, "float32"),
        ("auto", 6, N, "float32"),
        ("auto", 6, 90, "float64"),
        ("auto", 6, 23, "float32"),
    ],
)
def test_equals_the_flow_in_memory(client, rank, shrink_every, size, dtype):
    run = Run(rank, shrink_every, dtype)
    with run.points(client, size) as points:
        run.stream(points)
        run.check(points)
    reductions = [block.reduction for block in run.blocks if block.reduction]
    assert bool(reductions) == bool(shrink_every)


@pytest.mark.slow
def test_goes_on_where_it_stopped_and_from_blocks_alone(client):
    run = Run("auto", 6)
    with run.points(client) as points:
        run.stream(points, end=7)
        run.check(points, 7)
        run.stream(points, first=7, end=9)
        run.check(points, 9)
    with run.points(client, 130) as points:  # others, that have seen nothing
        run.stream(points, first=9)
        run.check(points)
        run.check(points, 9)  # layers are taken back: points start again


@pytest.mark.slow
def test_a_worker_dies_between_blocks_and_the_next_one_gets_shards_again(client, caplog):
    run = Run("auto", 6)
    victim = workers(client)[0]

    def then():
        if len(run.blocks) == 3:
            kill(client, [victim])
            until(lambda: victim not in workers(client))

    with run.points(client, 50) as points, caplog.at_level(logging.INFO, "kflow"):
        run.stream(points, then=then)
        client.wait_for_workers(2, timeout=30)
        points.gather(np.arange(3), N_LAYERS)
        assert len({home.worker for home in points._homes.values()}) == 2
        run.check(points)
    said = caplog.text
    assert f"worker {victim} is lost, and its shards with it: " in said
    assert "was rebuilt in" in said


@pytest.mark.slow
@pytest.mark.parametrize("everybody", [False, True])
def test_workers_die_while_they_move_points(client, everybody):
    run = Run("auto", 6)

    def end():
        os.kill(os.getpid(), signal.SIGKILL)

    def then():
        if len(run.blocks) == 2:
            sabotage(client, end, None if everybody else workers(client)[:1])

    with run.points(client) as points:
        run.stream(points, then=then)
        run.check(points)


@pytest.mark.slow
def test_all_workers_are_replaced(client):
    run = Run()
    first = workers(client)

    def then():
        if len(run.blocks) == 2:
            kill(client, first)

    with run.points(client) as points:
        run.stream(points, then=then)
        run.check(points)
    assert not set(first) & set(workers(client))


@pytest.mark.slow
def test_an_error_in_a_worker_is_raised_and_the_flow_goes_on_after_it(client):
    run = Run()

    def fail():
        raise MemoryError("no room for a shard")

    def then():
        if len(run.blocks) == 2:
            sabotage(client, fail, workers(client)[:1])

    with run.points(client) as points:
        with pytest.raises(MemoryError, match="no room for a shard"):
            run.stream(points, then=then)
        done = run.blocks[-1].end
        run.stream(points, first=done)
        run.check(points)


@pytest.mark.slow
def test_an_interrupt_leaves_points_that_go_on(client, monkeypatch):
    run = Run()
    finish = DaskPoints._finish

    def interrupted(self, *arguments):
        if len(run.blocks) == 3:
            raise KeyboardInterrupt
        return finish(self, *arguments)

    with run.points(client) as points:
        with monkeypatch.context() as patch:
            patch.setattr(DaskPoints, "_finish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.stream(points)
        run.stream(points, first=run.blocks[-1].end)
        run.check(points)


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_given_up(client, monkeypatch):
    monkeypatch.setattr("kflow.points.cluster._DEATHS", 0)
    run = Run()
    with run.points(client) as points:
        points.gather(np.arange(3), 0)
        victim = workers(client)[0]
        kill(client, [victim])
        until(lambda: victim not in workers(client))
        with pytest.raises(RuntimeError, match=r"was lost with 1 workers.*smaller shards"):
            points.gather(np.arange(3), 0)


@pytest.mark.slow
def test_workers_come_and_go(client, cluster):
    run = Run()
    homes = []

    def then():
        homes.append({home.worker for home in points._homes.values()})
        if len(run.blocks) == 1:
            cluster.scale(3)
            client.wait_for_workers(3, timeout=30)
        if len(run.blocks) == 3:
            cluster.scale(2)

    with run.points(client, 50) as points:
        run.stream(points, then=then)
        run.check(points)
    assert [len(those) for those in homes[:2]] == [2, 3]
    until(lambda: len(workers(client)) == 2)


@pytest.mark.slow
def test_the_leader_goes_on_while_points_move(client, tmp_path):
    run = Run()
    go = tmp_path / "go"

    def wait():
        while not go.exists():
            time.sleep(0.01)

    with run.points(client) as points:
        start = points.gather(np.arange(N), 0)
        sabotage(client, wait)
        plan = run.leader.plan(run.rng, 0, EVERY)
        block, _ = run.leader.run(plan, start[plan.rows])
        ticket = points.advance(block, np.arange(N))
        go.touch()  # nobody moves before
        np.testing.assert_array_equal(ticket(), run.leader.move(start, block))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["close", "forgotten", "client"])
def test_points_leave_the_cluster(cluster, client, way):
    run = Run()
    with dask_distributed.Client(cluster, set_as_default=False) as other:
        points = run.points(other)
        points.gather(np.arange(3), 0)
        assert in_workers(client) == len(points._shards)
        if way == "close":
            points.close()
        elif way == "forgotten":
            del points
            gc.collect()
        else:
            other.close()
        until(lambda: in_workers(client) == 0)
        until(lambda: client.run_on_scheduler(lambda dask_scheduler: not dask_scheduler.tasks))


@pytest.mark.slow
def test_blocks_and_rows_do_not_stay_in_the_workers(client):
    run = Run()
    with run.points(client) as points:
        run.stream(points)

        def kept():
            return client.run_on_scheduler(
                lambda dask_scheduler: sum(
                    task.nbytes for task in dask_scheduler.tasks.values() if task.who_has
                )
            )

        until(lambda: kept() < 10_000)  # where the points come from, and a report of each shard


# ---- where the points come from ---------------------------------------------------------------


@pytest.mark.slow
def test_workers_read_files_themselves(client, tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", X)
    run = Run(x=np.load(tmp_path / "X.npy", mmap_mode="r"))
    monkeypatch.delattr(type(run.source), "_read")  # the client cannot
    with run.points(client) as points:
        run.stream(points)
        run.check(points)


@pytest.mark.slow
def test_workers_that_do_not_see_the_file_get_rows(client, tmp_path):
    np.save(tmp_path / "X.npy", X)
    run = Run(x=np.load(tmp_path / "X.npy", mmap_mode="r"))
    with run.points(client, 23) as points:
        (tmp_path / "X.npy").rename(tmp_path / "elsewhere.npy")
        run.stream(points)
        run.check(points)


@pytest.mark.slow
def test_rows_of_a_dask_array(client):
    array = pytest.importorskip("dask.array").from_array(X, chunks=(70, 2))
    run = Run("auto", 6, x=array)
    with run.points(client) as points:
        run.stream(points)
        run.check(points)


@pytest.mark.slow
def test_damaged_rows_are_reported(client, tmp_path):
    bad = X.copy()
    bad[200, 1] = np.nan
    np.save(tmp_path / "X.npy", bad)
    for x in (bad, np.load(tmp_path / "X.npy", mmap_mode="r")):
        with (
            Run(x=x).points(client) as points,
            pytest.raises(ValueError, match="X contains NaN"),
        ):
            points.gather(np.arange(3), 0)


# ---- what cannot work -------------------------------------------------------------------------


@pytest.mark.slow
def test_no_workers_is_an_error_after_a_while():
    with (
        dask_distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=":0"
        ) as cluster,
        dask_distributed.Client(cluster, set_as_default=False) as client,
        Run().points(client, patience=0.1) as points,
        pytest.raises(TimeoutError, match=r"no workers for 0\.1 s: start some"),
    ):
        points.gather(np.arange(3), 0)


def test_points_that_do_not_fit_are_an_error_at_once(client, monkeypatch):
    monkeypatch.setattr("kflow.points.cluster_load._MEMORY_SHARE", 1e-9)
    with (
        Run().points(client) as points,
        pytest.raises(StorageError, match="memory of the 2 workers: start more"),
    ):
        points.gather(np.arange(3), 0)


def test_a_closed_client_is_an_error(cluster):
    with dask_distributed.Client(cluster, set_as_default=False) as client:
        points = Run().points(client)
    with pytest.raises(RuntimeError, match="the client is closed: pass a new one"):
        points.gather(np.arange(3), 0)


def test_other_clients_are_refused():
    with pytest.raises(TypeError, match=r"client must be a dask\.distributed\.Client, got str"):
        Run().points("tcp://127.0.0.1:8786")


@pytest.mark.slow
def test_without_the_package_the_error_says_what_to_install(run_python):
    done = run_python(
        "import sys; sys.modules['distributed'] = None; import kflow.points.cluster", check=False
    )
    assert "pip install 'kflow[dask]'" in done.stderr


# ---- tasks ------------------------------------------------------------------------------------


def test_a_task_that_comes_twice_or_late_moves_nothing():
    run = Run()
    plan = run.leader.plan(run.rng, 0, EVERY)
    start = run.flow.reduced_points_
    block, _ = run.leader.run(plan, start[plan.rows])
    motion = RemoteMotion.of(run.flow.motion(run.flow.kernel_))
    origin = worker.Origin(None, None, run.dtype, motion)
    ask = (0, EVERY, motion, block, np.arange(5), 1)
    try:
        assert worker.ask_shard("key", *ask).n_layers is None
        worker.place_shard("key", 0, slice(0, N), origin, start)
        first, again = (worker.ask_shard("key", *ask) for _ in range(2))
        assert first.n_layers == again.n_layers == EVERY
        np.testing.assert_array_equal(first.values, again.values)
        later = Block(EVERY + 1, block.layers, None)
        said = worker.ask_shard("key", 0, later.end, ask[2], later, np.arange(5), 1)
        assert (said.n_layers, said.values) == (EVERY, None)
    finally:
        worker.shards_here.clear()


@pytest.mark.slow
def test_other_builds_are_said_once(client, caplog, monkeypatch):
    monkeypatch.setattr("kflow.points.cluster.build_of", lambda _: ("0.0.1", "sse9"))
    with Run().points(client) as points, caplog.at_level(logging.WARNING, "kflow"):
        points.gather(np.arange(3), 0)
    (record,) = (record for record in caplog.records if record.name == "kflow")
    assert "this process 0.0.1 with sse9: results may differ" in record.getMessage()


# ---- flows ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"rank": "auto", "shrink_every": 5}], ids=str)
def test_the_same_fit(client, options, tmp_path):
    settings = {
        "n_layers": 13,
        "batch_size": 40,
        "every": EVERY,
        "nugget": 0.1,
        "step": "rms",
        "step_size": 0.1,
        "step_over": "batch",
        "random_state": 3,
        **options,
    }
    expected = kflow.KernelFlow(**settings).fit(X, Y, follow={"test": X[:9] + 0.1})
    for checkpoint in (None, tmp_path):
        flow = kflow.KernelFlow(checkpoint=checkpoint, **settings)
        flow.fit(X, Y, follow={"test": X[:9] + 0.1}, client=client)
        np.testing.assert_array_equal(flow.reduced_points_, expected.reduced_points_)
        np.testing.assert_array_equal(flow.points_, expected.points_)
        np.testing.assert_array_equal(flow.follow_["test"], expected.follow_["test"])
        np.testing.assert_array_equal(flow.history_["rho"], expected.history_["rho"])
        np.testing.assert_array_equal(flow.transform(X), expected.transform(X))
    settings["n_layers"] = 17
    flow = kflow.KernelFlow(checkpoint=tmp_path, **settings)
    flow.fit(X, Y, follow={"test": X[:9] + 0.1}, client=client, resume=True)
    np.testing.assert_array_equal(flow.points_, expected.run(4).points_)


@pytest.mark.slow
def test_wrong_clients(client):
    for options, wrong, message in (
        ({"step_over": "all"}, client, "client needs step_over='batch'"),
        ({"step_over": "batch"}, "here", "client must be a dask.distributed.Client"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            kflow.KernelFlow(n_layers=1, batch_size=40, **options).fit(X, Y, client=wrong)
