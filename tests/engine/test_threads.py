from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import kflow
from kflow import kernels
from kflow.engine import threads as _threads
from kflow.layers.subspace import Subspace

pytestmark = pytest.mark.usefixtures("always_a_team")

KERNEL = kernels.Matern52(2.0)
THREADS = [1, 2, 3, 5]


@pytest.fixture
def default_threads(monkeypatch):
    """No setting of any kind; what a test sets is undone."""
    for name in ("KFLOW_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_threads, "_default", None)


def results(n_threads, d=9, dtype="float64"):
    """Everything that the engine computes from one set of numbers."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(1100, d)).astype(dtype)
    Z, C = (rng.normal(size=(200, d)).astype(dtype) for _ in range(2))
    Y = rng.normal(size=(200, 2))
    flow = kflow.KernelFlow(
        KERNEL,
        n_layers=3,
        batch_size=200,
        n_halves=2,
        dtype=dtype,
        random_state=1,
        n_threads=n_threads,
    ).fit(X, rng.normal(size=1100), follow={"test": Z})
    loss, gradient = kflow.rho_gradient(
        Z, Y, np.arange(100), kernel=KERNEL, nugget=1e-3, n_threads=n_threads
    )
    return [
        kflow.gram(X, Z, kernel=KERNEL, n_threads=n_threads),
        kflow.move(X, Z, C, kernel=KERNEL, n_threads=n_threads),
        np.array(loss),
        gradient,
        flow.points_,
        flow.follow_["test"],
        flow.history_["rho"],
        flow.history_["step"],
        flow.transform(Z),
    ]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- the result does not depend on the threads ------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 9])
def test_number_of_threads_does_not_change_a_bit(d, dtype):
    expected = results(1, d, dtype)
    for n_threads in THREADS[1:]:
        assert_same(results(n_threads, d, dtype), expected)


@pytest.mark.usefixtures("engine")
def test_number_of_threads_does_not_change_a_bit_at_any_level():
    assert_same(results(3), results(1))


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
def test_concurrent_callers(n_threads):
    expected = results(1)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(results, [n_threads] * 8):
            assert_same(got, expected)


def test_concurrent_interpolants(rng):
    # Their factorisation is SciPy's, which promises no bits: equal to rounding.
    Z, Y = rng.normal(size=(300, 9)), rng.normal(size=(300, 2))

    def predict(_):
        return kflow.Interpolant(Z, Y, kernel=KERNEL, nugget=1e-3)(Z)

    expected = predict(None)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(predict, range(12)):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


def test_callers_may_share_their_inputs(rng):
    X, Z, C = (rng.normal(size=(300, 9)) for _ in range(3))
    expected = kflow.move(X, Z, C, kernel=KERNEL)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: kflow.move(X, Z, C, kernel=KERNEL), range(40)):
            np.testing.assert_array_equal(got, expected)


# ---- how many ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("default_threads")
class TestNumber:
    def test_default(self, monkeypatch):
        assert 1 <= kflow.get_num_threads() <= 512
        monkeypatch.setattr(_threads, "_physical_cores", lambda _cpus: 1)
        assert kflow.get_num_threads() == 1

    def test_set_and_return_to_the_default(self):
        default = kflow.get_num_threads()
        kflow.set_num_threads(3)
        assert kflow.get_num_threads() == 3
        kflow.set_num_threads(np.int64(2))
        assert kflow.get_num_threads() == 2
        kflow.set_num_threads(None)
        assert kflow.get_num_threads() == default

    def test_more_than_512_count_as_512(self):
        kflow.set_num_threads(1000)
        assert kflow.get_num_threads() == 512
        x = np.arange(6.0).reshape(3, 2)
        np.testing.assert_array_equal(
            kflow.gram(x, kernel=KERNEL, n_threads=1000), kflow.gram(x, kernel=KERNEL, n_threads=1)
        )

    def test_set_comes_before_the_environment(self, monkeypatch):
        monkeypatch.setenv("KFLOW_NUM_THREADS", "5")
        assert kflow.get_num_threads() == 5
        kflow.set_num_threads(3)
        assert kflow.get_num_threads() == 3

    def test_bad_environment_is_named(self, monkeypatch):
        monkeypatch.setenv("KFLOW_NUM_THREADS", "many")
        with pytest.raises(ValueError, match="KFLOW_NUM_THREADS must be a positive whole number"):
            kflow.get_num_threads()

    def test_limit_of_threadpoolctl(self, monkeypatch):
        if kflow.build_config()["parallel"] != "openmp":
            pytest.skip("a build without OpenMP")
        monkeypatch.setattr(_threads, "_physical_cores", lambda _cpus: 8)
        with threadpool_limits(3, user_api="openmp"):
            assert kflow.get_num_threads() == 3
        with threadpool_limits(1):
            assert kflow.get_num_threads() == 1

    def test_limit_of_threadpoolctl_under_omp_num_threads(self, monkeypatch):
        if kflow.build_config()["parallel"] != "openmp":
            pytest.skip("a build without OpenMP")
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        with threadpool_limits(1):
            assert kflow.get_num_threads() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"KFLOW_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"KFLOW_NUM_THREADS": "2", "OMP_NUM_THREADS": "4"}, 2),
        ({"KFLOW_NUM_THREADS": "", "OMP_NUM_THREADS": "1"}, 1),
    ],
    ids=str,
)
def test_environment(run_python, environment, expected):
    done = run_python("import kflow; print(kflow.get_num_threads())", **environment)
    assert int(done.stdout) == expected


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "two", None, [1]])
def test_bad_numbers(value):
    if value is not None:
        with pytest.raises(ValueError, match=r"^n must be a positive whole number"):
            kflow.set_num_threads(value)
        with pytest.raises(ValueError, match=r"^n_threads must be a positive whole number"):
            kflow.gram(np.ones((2, 2)), kernel=KERNEL, n_threads=value)
        with pytest.raises(ValueError, match=r"^n_threads must be a positive whole number"):
            kflow.KernelFlow(n_layers=1, n_threads=value)


# ---- BLAS's own threads -----------------------------------------------------------------------


BLAS = """
from threadpoolctl import ThreadpoolController, threadpool_limits
from kflow.engine.threads import single_threaded_blas

def libraries():
    return ThreadpoolController().select(user_api="blas").lib_controllers

def counts():
    return {library.get_num_threads() for library in libraries()}
"""


@pytest.fixture
def two_blas_threads(blas_threads):
    import scipy.linalg  # noqa: F401 (it brings a BLAS of its own)

    with threadpool_limits(2, user_api="blas"):
        yield blas_threads()


def test_blas_runs_on_one_thread_inside_only(two_blas_threads, blas_threads):
    assert set(two_blas_threads) == {2}
    with _threads.single_threaded_blas:
        assert set(blas_threads()) == {1}
        with _threads.single_threaded_blas:
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == two_blas_threads


@pytest.mark.parametrize("settings", [{}, {"rank": 3, "shrink_every": 1}], ids=str)
def test_a_running_flow_leaves_blas_alone(two_blas_threads, blas_threads, settings, rng):
    X = rng.normal(size=(60, 5))
    seen = []
    flow = kflow.KernelFlow(
        KERNEL,
        n_layers=3,
        batch_size=20,
        random_state=0,
        callbacks=[lambda _: seen.append(blas_threads())],
        **settings,
    ).fit(X, X)
    assert seen == [two_blas_threads] * 3
    flow.transform(X)
    assert blas_threads() == two_blas_threads


@pytest.mark.usefixtures("blas_threads")
def test_a_flow_never_sets_the_threads_of_blas(monkeypatch, rng):
    def refuse(_library):
        raise AssertionError

    monkeypatch.setattr(_threads, "_setter", refuse)
    X = rng.normal(size=(60, 5))
    kflow.KernelFlow(KERNEL, n_layers=2, batch_size=20, random_state=0).fit(X, X).transform(X)


def test_blas_threads_come_back_after_errors(two_blas_threads, blas_threads, rng):
    X = rng.normal(size=(20, 2))
    with pytest.raises(kflow.SingularKernelError):
        kflow.Interpolant(np.zeros((20, 2)), X, kernel=KERNEL, nugget=0.0)
    assert blas_threads() == two_blas_threads
    with pytest.raises(ValueError, match="too large"), np.errstate(over="ignore"):
        Subspace.fit(np.full((20, 2), 1e200), "auto")
    assert blas_threads() == two_blas_threads
    with pytest.raises(KeyError), _threads.single_threaded_blas:
        raise KeyError
    assert blas_threads() == two_blas_threads


def test_blas_threads_come_back_after_the_last_of_several_threads(two_blas_threads, blas_threads):
    inside = _threads.single_threaded_blas
    with ThreadPoolExecutor(1) as pool:
        inside.__enter__()
        pool.submit(inside.__enter__).result()
        inside.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        pool.submit(inside.__exit__, None, None, None).result()
    assert blas_threads() == two_blas_threads


def test_blas_threads_are_set_by_any_thread(two_blas_threads, blas_threads):
    # The main thread has set them before, which is all that threadpoolctl cares about.
    def inside():
        with _threads.single_threaded_blas:
            return set(blas_threads())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == {1}
    assert blas_threads() == two_blas_threads


@pytest.mark.slow
@pytest.mark.usefixtures("blas_threads")
def test_a_library_that_is_loaded_later_runs_on_one_thread_too(run_python):
    run_python(
        BLAS
        + """
import numpy

with single_threaded_blas:
    early = {library.filepath for library in libraries()}
    import scipy.linalg
    late = [library for library in libraries() if library.filepath not in early]
    for library in late:
        library.set_num_threads(2)
    with single_threaded_blas:
        assert counts() == {1}, counts()
    assert counts() == {1}, counts()
assert all(library.get_num_threads() == 2 for library in late)
"""
    )


# ---- fork -------------------------------------------------------------------------------------

FORK = """
import multiprocessing, sys, warnings
import numpy as np
import kflow

warnings.simplefilter("ignore", DeprecationWarning)  # about fork in a process with threads
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(900, 9)), rng.normal(size=900)
kernel = kflow.kernels.Gaussian(3.0)
kflow.engine.cpu._core.set_team_threshold(0.0)

def work(n_threads):
    flow = kflow.KernelFlow(kernel, n_layers=3, batch_size=300, random_state=0,
                            n_threads=n_threads).fit(X, Y)
    gram = kflow.gram(X, kernel=kernel, n_threads=n_threads)
    return flow.points_.tobytes(), flow.transform(X).tobytes(), gram.tobytes()

def child(n_threads, queue):
    queue.put(work(n_threads))
"""


@pytest.mark.slow
def test_forked_child_after_a_parallel_region(run_python):
    run_python(
        FORK
        + """
expected = work(4)
assert not kflow.engine.cpu._core.forked_after_team()
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(4, queue))
process.start()
got = queue.get(timeout=60)
process.join(60)
assert process.exitcode == 0, process.exitcode
assert got == expected
assert work(4) == expected
"""
    )


@pytest.mark.slow
def test_forked_child_of_a_parent_that_ran_nothing(run_python):
    run_python(
        FORK
        + """
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(2, queue))
process.start()
got = queue.get(timeout=60)
process.join(60)
assert process.exitcode == 0, process.exitcode
assert got == work(1)
"""
    )


@pytest.mark.slow
@pytest.mark.usefixtures("blas_threads")
def test_fork_while_another_thread_is_inside(run_python):
    run_python(
        FORK
        + BLAS
        + """
import threading

work(1)
threadpool_limits(2, user_api="blas")
entered, leave = threading.Event(), threading.Event()
def inside():
    with single_threaded_blas:
        entered.set()
        leave.wait()
thread = threading.Thread(target=inside)
thread.start()
entered.wait()
context = multiprocessing.get_context("fork")
queue = context.Queue()
def look(queue):
    queue.put((counts(), work(2), counts()))
process = context.Process(target=look, args=(queue,))
process.start()
before, got, after = queue.get(timeout=60)
process.join(60)
leave.set()
thread.join()
assert before == after == {2}, (before, after)
assert got == work(1)
"""
    )


@pytest.mark.slow
def test_spawned_children(run_python, tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(
        FORK
        + """
if __name__ == "__main__":
    expected = work(2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(work, (1,)).get(60) == expected
"""
    )
    run_python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks the process for its size")
def test_where_no_thread_can_be_started_one_computes(run_python):
    run_python("""
        import resource
        import numpy as np, kflow
        X = np.random.default_rng(0).normal(size=(1500, 20))
        kernel = kflow.kernels.Gaussian(1.0)
        expected = kflow.gram(X, kernel=kernel, n_threads=1)
        out = np.ones_like(expected)
        pages = int(open("/proc/self/statm").read().split()[0])
        space = pages * resource.getpagesize() + 4 * 2**20  # less than the stack of a thread
        resource.setrlimit(resource.RLIMIT_AS, (space, resource.RLIM_INFINITY))
        kflow.gram(X, kernel=kernel, out=out, n_threads=4)
        assert (out == expected).all()
    """)
