"""Runs of a checkpointed flow that are killed at any moment, and go on until they are done."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import kflow

__all__ = ["KilledFlow"]

_LAYERS = 1500

# What is killed: it prints a word once it runs.
_RUN = f"""
import sys
import numpy as np, kflow
X = np.random.default_rng(3).normal(size=(60, 4))
options = dict(batch_size=20, random_state=0, every=7, step_over="batch", nugget=0.1)
if sys.argv[2] == "disk":
    options["memory_budget"] = 5e6
flow = kflow.KernelFlow(kflow.kernels.Gaussian(2.0), n_layers={_LAYERS}, checkpoint=sys.argv[1], **options)
print("running", flush=True)
flow.fit(X, np.sign(X[:, 0]), resume=True)
np.save(sys.argv[3], flow.points_)
"""


class KilledFlow:
    """Kills a run again and again; whatever it leaves must lead to the same points.

    Attributes
    ----------
    n_kills : int
        How many runs were killed.
    n_flows : int
        How many flows came to their ends.
    """

    def __init__(self, seed: int) -> None:
        self.n_kills = self.n_flows = self._n_starts = 0
        self._rng = np.random.default_rng(seed)
        X = np.random.default_rng(3).normal(size=(60, 4))
        options: dict[str, Any] = {
            "batch_size": 20,
            "random_state": 0,
            "step_over": "batch",
            "nugget": 0.1,
        }
        flow = kflow.KernelFlow(kflow.kernels.Gaussian(2.0), n_layers=_LAYERS, **options)
        self._expected = flow.fit(X, np.sign(X[:, 0])).points_

    def run(self) -> None:
        """Run one flow to its end, through a few kills."""
        place = ("memory", "disk")[self._rng.integers(2)]
        with tempfile.TemporaryDirectory(prefix="kflow-soak-") as name:
            folder = Path(name)
            command = [sys.executable, "-c", _RUN, folder / "flow", place, folder / "points.npy"]
            while not (folder / "points.npy").exists():
                self._n_starts += 1
                wait = None if self._n_starts % 4 == 0 else float(self._rng.uniform(0.0, 0.25))
                self._once([str(part) for part in command], wait)
            np.testing.assert_array_equal(np.load(folder / "points.npy"), self._expected)
        self.n_flows += 1

    def _once(self, command: list[str], wait: float | None) -> None:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if wait is None:
                assert process.wait() == 0
                return
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            self.n_kills += process.wait() == -signal.SIGKILL
