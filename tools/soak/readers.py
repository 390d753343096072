"""Threads that read one flow while it runs, and is refused a second run."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import kflow

__all__ = ["ReadFlow"]

X = np.random.default_rng(5).normal(size=(3000, 6)).astype(np.float32)


class ReadFlow:
    """Reads from eight threads.

    Attributes
    ----------
    n_reads, n_refused : int
        How often the points were read, and how many runs were refused.
    """

    def __init__(self) -> None:
        self.n_reads = self.n_refused = 0

    def run(self, n_layers: int, n_threads: int = 8) -> None:
        """Run so many layers in one thread, while the others read and ask for runs of their own."""
        flow = kflow.KernelFlow(
            *(kflow.kernels.Gaussian(3.0),), n_layers=0, batch_size=20, random_state=0
        ).fit(X, np.sign(X[:, 0]))
        done = threading.Event()

        def read() -> tuple[int, int]:
            reads = refused = 0
            while not done.is_set():
                assert np.isfinite(flow.points_).all()
                reads += 1
                try:
                    flow.run(0)
                except RuntimeError:
                    refused += 1
            return reads, refused

        with ThreadPoolExecutor(n_threads) as pool:
            started = threading.Event()
            flow.callbacks = (lambda _: started.set(),)
            running = pool.submit(flow.run, n_layers)
            assert started.wait(60)
            readers = [pool.submit(read) for _ in range(n_threads - 1)]
            try:
                running.result()
            finally:
                done.set()
            for reader in readers:
                reads, refused = reader.result()
                self.n_reads += reads
                self.n_refused += refused
        np.testing.assert_array_equal(flow.points_, flow.transform(X))


if __name__ == "__main__":
    read = ReadFlow()
    while read.n_refused < int(sys.argv[1]):
        read.run(200)
    print(f"{read.n_reads} reads beside a run, {read.n_refused} runs refused")
