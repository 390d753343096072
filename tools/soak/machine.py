"""The life of a flow, as Hypothesis makes it up, beside a slow flow that does the same."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import kflow
from kflow import KernelFlow
from kflow.testing import slow
from soak.failures import FAILING, failing

__all__ = ["COUNTS", "FlowLife"]

# How often each rule was followed, and each failure injected.
COUNTS: Counter[str] = Counter()

N, D, BATCH = 26, 3, 10
X = np.random.default_rng(11).normal(size=(N, D))
Y = np.sign(X[:, 0] * X[:, 1])
TEST = X[:5] + 0.3
KERNEL = kflow.kernels.Matern52(2.0)
MOST_LAYERS = 14


class SlowFlow:
    """The same flow by the formulas, with its points after every layer."""

    def __init__(self, X: Any, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.past: list[tuple[Any, Any, Any]] = [
            (np.array(X, np.float64), TEST.copy(), rng.bit_generator.state)
        ]

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.past) - 1

    def bring_to(self, n_layers: int, settings: dict[str, Any]) -> None:
        """Run layers, or go back, until there are so many."""
        del self.past[n_layers + 1 :]
        while self.n_layers < n_layers:
            points, test, state = self.past[-1]
            rng = np.random.default_rng()
            rng.bit_generator.state = state
            batch, halves = slow.draw(
                rng, N, BATCH, settings["coarse_fraction"], settings["n_halves"]
            )
            result = slow.layer(
                *(points, Y, batch, halves),
                kernel=KERNEL,
                nugget=settings["nugget"],
                step="rms",
                step_size=settings["step_size"],
                follow={"test": test},
            )
            self.past.append((result.points, result.follow["test"], rng.bit_generator.state))


class FlowLife(RuleBasedStateMachine):
    """Fit, run, read, copy, save, load, resume, change, fail: after each step all is as it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="kflow-soak-"))

    def teardown(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize(
        dtype=st.sampled_from(["float32", "float64"]),
        kept=st.booleans(),
        n_halves=st.integers(1, 3),
        fraction=st.sampled_from([0.3, 0.5]),
        n_layers=st.integers(0, 2),
    )
    def fit(self, dtype: str, kept: bool, n_halves: int, fraction: float, n_layers: int) -> None:
        """Begin."""
        COUNTS["lives"] += 1
        self.first: dict[str, Any] = {
            "nugget": 0.2,
            "step_size": 0.03,
            "n_halves": n_halves,
            "coarse_fraction": fraction,
        }
        self.settings = dict(self.first)
        self.options: dict[str, Any] = {
            "batch_size": BATCH,
            "step": "rms",
            "dtype": dtype,
            "random_state": 5,
            "every": 2,
            "checkpoint": self.folder / "flow" if kept else None,
        }
        self.is_kept, self.is_first = kept, True
        self.flow = self._new(n_layers).fit(X, Y, {"test": TEST})
        self.slow = SlowFlow(X.astype(dtype), 5)

    def _new(self, n_layers: int) -> KernelFlow:
        return KernelFlow(KERNEL, n_layers=n_layers, **self.options, **self.first)

    def _has_room(self) -> bool:
        return self.flow.n_layers_ < MOST_LAYERS

    @precondition(_has_room)
    @rule(n=st.integers(0, 3))
    def run(self, n: int) -> None:
        """Run some layers."""
        COUNTS["runs"] += 1
        before = self.flow.n_layers_
        self.flow.run(n)
        assert self.flow.n_layers_ == before + n

    @precondition(_has_room)
    @rule(n=st.integers(1, 3), what=st.sampled_from(list(FAILING)), after=st.integers(0, 12))
    def fail_in_a_run(self, n: int, what: str, after: int) -> None:
        """Run layers, on the way of which something fails."""
        before = self.flow.n_layers_
        with failing(what, after) as failed:
            try:
                self.flow.run(n)
            except (MemoryError, OSError):
                assert failed
        COUNTS["injected failures"] += len(failed)
        assert before <= self.flow.n_layers_ <= before + n
        if not failed:
            assert self.flow.n_layers_ == before + n

    @precondition(_has_room)
    @rule(layer=st.integers(1, 3), error=st.sampled_from([KeyboardInterrupt, RuntimeError]))
    def fail_in_a_callback(self, layer: int, error: type[BaseException]) -> None:
        """Run layers, of which one is interrupted after it counts."""
        last = self.flow.n_layers_ + layer

        def callback(flow: KernelFlow) -> None:
            if flow.n_layers_ == last:
                raise error("stop")

        self.flow.callbacks = (callback,)
        try:
            self.flow.run(4)
        except error:
            COUNTS["injected failures"] += 1
        finally:
            self.flow.callbacks = ()
        assert self.flow.n_layers_ == last

    @rule(n=st.integers(2, 4))
    def read_from_threads(self, n: int) -> None:
        """Read everything from several threads at one time."""
        COUNTS["reads"] += n
        barrier = threading.Barrier(n)

        def read(_: int) -> list[Any]:
            barrier.wait()
            flow = self.flow
            return [flow.points_, flow.follow_["test"], flow.transform(TEST), flow.targets_]

        with ThreadPoolExecutor(n) as pool:
            first, *others = pool.map(read, range(n))
        for other in others:
            for one, two in zip(first, other, strict=True):
                np.testing.assert_array_equal(one, two)

    @rule(
        fails=st.sampled_from([None, *(name for name in FAILING if name != "allocation")]),
        after=st.integers(0, 2),
    )
    def save_and_load(self, fails: str | None, after: int) -> None:
        """Save, perhaps not to the end, and load what is there."""
        path = self.folder / "model.kflow"
        there = path.exists()
        before = path.read_bytes() if there else b""
        COUNTS["saves"] += 1
        if fails is not None:
            with failing(fails, after) as failed:
                try:
                    self.flow.save(path)
                except OSError:
                    assert failed
                    assert (path.read_bytes() if path.exists() else b"") == before
                    assert not list(self.folder.glob("*.partial"))
            COUNTS["injected failures"] += len(failed)
            return
        self.flow.save(path)
        loaded = kflow.load(path)
        self._same(loaded)
        if not self.is_kept:  # a loaded flow has no checkpoint
            self.flow = loaded

    @rule()
    def copy(self) -> None:
        """Go on with a copy by pickle."""
        COUNTS["copies"] += 1
        copied = pickle.loads(pickle.dumps(self.flow))
        self._same(copied)
        if not self.is_kept:
            self.flow = copied

    @precondition(lambda self: self.is_kept)
    @rule(torn=st.booleans())
    def resume(self, torn: bool) -> None:
        """Forget the flow, and resume it from its files, perhaps with a half-written one beside."""
        COUNTS["resumptions"] += 1
        if torn:
            (self.folder / "flow" / f"block-{os.getpid()}.partial").write_bytes(b"half")
        checkpoint = self.flow.state_.checkpoint
        assert checkpoint is not None
        written = checkpoint.layers.n_written
        fresh = self._new(MOST_LAYERS + 9)
        fresh.start(X, Y, {"test": TEST}, resume=True)
        assert fresh.n_layers_ == written
        for name, value in self.settings.items():
            setattr(fresh, name, value)
        self.flow = fresh

    @rule(
        nugget=st.sampled_from([0.1, 0.3]),
        step_size=st.sampled_from([0.02, 0.05]),
        n_halves=st.integers(1, 3),
    )
    def change(self, nugget: float, step_size: float, n_halves: int) -> None:
        """Change settings; impossible ones are refused, and change nothing."""
        COUNTS["changes"] += 1
        wanted = {"nugget": nugget, "step_size": step_size, "n_halves": n_halves}
        for name, value in wanted.items():
            setattr(self.flow, name, value)
        self.settings.update(wanted)
        refused: dict[str, Any] = {"batch_size": 5, "dtype": "float64", "n_halves": -1, "step": 3}
        for name, value in refused.items():
            kept = getattr(self.flow, name)
            try:
                setattr(self.flow, name, value)
            except (AttributeError, TypeError, ValueError):
                assert getattr(self.flow, name) == kept
            else:
                raise AssertionError(f"{name}={value!r} was taken")

    def _same(self, other: KernelFlow) -> None:
        flow = self.flow
        assert other.n_layers_ == flow.n_layers_
        np.testing.assert_array_equal(other.points_, flow.points_)
        np.testing.assert_array_equal(other.transform(TEST), flow.transform(TEST))
        assert other.state_.rng.bit_generator.state == flow.state_.rng.bit_generator.state

    @invariant()
    def is_consistent(self) -> None:
        """Layers, records, points and the generator belong together, and are those of the slow flow."""
        if not hasattr(self, "slow"):
            return
        flow, n = self.flow, self.flow.n_layers_
        self.slow.bring_to(n, self.settings)
        assert {len(values) for values in flow.history_.values()} == {n}
        points, test, state = self.slow.past[-1]
        tolerance = 1e-7 if flow.dtype == "float64" else 5e-3
        np.testing.assert_allclose(flow.points_, points, rtol=0, atol=tolerance)
        np.testing.assert_allclose(flow.follow_["test"], test, rtol=0, atol=tolerance)
        np.testing.assert_allclose(flow.transform(TEST), test, rtol=0, atol=tolerance)
        assert flow.state_.rng.bit_generator.state == state


warnings.filterwarnings("ignore", message=".*not in memory.*")
