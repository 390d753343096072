"""Flows on a cluster by PyTorch's CPU device: workers move their shards on the device."""

from __future__ import annotations

import contextlib
import pickle

import numpy as np
import pytest

import kflow
from kflow.kernels import Gaussian
from kflow.layers.motion import RemoteMotion

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
distributed = pytest.importorskip("distributed")

from kflow.points import cluster_worker  # noqa: E402

SETTINGS = {
    "n_layers": 9,
    "batch_size": 32,
    "every": 4,
    "nugget": 0.1,
    "step": "rms",
    "step_size": 0.05,
    "step_over": "batch",
    "random_state": 0,
    "device": "cpu",
}
# A device that no machine has, and that PyTorch knows as a name.
NOWHERE = RemoteMotion(("torch", "cuda:99"), Gaussian(2.0).profile)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As many as each worker has: PyTorch's products round by the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data():
    # 32 points of a batch in 8 dimensions: on some processors, products of odd shapes round a row by
    # where it is.
    X = np.random.default_rng(0).normal(size=(300, 8))
    return X, np.sign(X[:, 0] * X[:, 1])


@contextlib.contextmanager
def two_workers(folder):
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=str(folder),
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        yield client


def without_torch():
    """Return a function that makes a worker one without PyTorch."""

    def lose():
        import sys

        import kflow.engine

        kflow.engine.get_engine.cache_clear()
        for name in list(sys.modules):
            if name.startswith("kflow.engine.torch"):
                del sys.modules[name]
        sys.modules["torch"] = None

    return lose


@pytest.mark.slow
def test_the_same_flow_as_in_one_process(data, tmp_path):
    X, Y = data
    with two_workers(tmp_path) as client:
        for dtype in ("float32", "float64"):
            expected = kflow.KernelFlow(**SETTINGS, dtype=dtype).fit(X, Y, follow={"test": X[:9]})
            flow = kflow.KernelFlow(**SETTINGS, dtype=dtype)
            flow.fit(X, Y, follow={"test": X[:9]}, client=client)
            for one, other in ((flow, expected), (flow.run(2), expected.run(2))):
                np.testing.assert_array_equal(one.points_, other.points_)
                np.testing.assert_array_equal(one.follow_["test"], other.follow_["test"])
                np.testing.assert_array_equal(one.history_["rho"], other.history_["rho"])
        engines = client.run(lambda: "kflow.engine.torch" in __import__("sys").modules)
        assert all(engines.values())


@pytest.mark.slow
def test_a_worker_without_the_device_is_named(data, tmp_path):
    X, Y = data
    with two_workers(tmp_path) as client:
        bare = next(iter(client.scheduler_info(n_workers=-1)["workers"]))
        client.run(without_torch(), workers=[bare])
        flow = kflow.KernelFlow(**SETTINGS)
        with pytest.raises(ImportError, match=r"cannot run engine='torch' on 'cpu'") as told:
            flow.fit(X, Y, client=client)
        assert bare in str(told.value)
        assert "pip install 'kflow[torch]'" in str(told.value)
        client.retire_workers([bare])
        flow.fit(X, Y, client=client)
        expected = kflow.KernelFlow(**SETTINGS).fit(X, Y)
        np.testing.assert_array_equal(flow.points_, expected.points_)


def test_a_worker_takes_no_shard_that_it_cannot_move(data):
    X, _ = data
    origin = cluster_worker.Origin(None, None, np.dtype("float32"), NOWHERE)
    arrays = {"points": X, "frozen": X[:, :0]}
    for report in (
        cluster_worker.place_shard("key", 0, slice(0, len(X)), origin, X),
        cluster_worker.take_shard("key", 0, (arrays, 4), NOWHERE),
    ):
        assert report.n_layers is None
        assert "device='cuda:99' cannot be used by PyTorch" in report.missing
    assert not cluster_worker.shards_here


def test_a_motion_is_read_where_its_engine_is_missing():
    again = pickle.loads(pickle.dumps(NOWHERE))
    assert again == NOWHERE
    with pytest.raises(ImportError, match="device='cuda:99' cannot be used by PyTorch"):
        again.here(1)
