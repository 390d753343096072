"""Damaged files of every kind, read with little memory: each is refused, or read as it was."""

from __future__ import annotations

import resource
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kflow import StorageError
from soak.corpus import LOADERS, Valid, corpus
from soak.mutations import damaged, resealed

__all__ = ["Fuzzer", "memory_limit"]

# What a refusal is. A StorageError says that there is no room; other MemoryErrors say nothing.
_REFUSALS = (ValueError, OSError, StorageError)

_SPARE = 200 * 2**20


@contextmanager
def memory_limit(n_bytes: int) -> Iterator[None]:
    """Let this process take no more than so many bytes of address space besides what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Fuzzer:
    """Damages valid files and reads them.

    Parameters
    ----------
    folder : Path
        An empty folder for the files.
    seed : int
        Seed of the damage.

    Attributes
    ----------
    counts : Counter
        How often each outcome occurred: "refused", "same" and "other", which is another valid
        content, for files without a checksum and for those whose checksum was made right.
    faults : list of str
        Descriptions of what must not be: other exceptions, and damage that passed a checksum.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._rng = np.random.default_rng(seed)
        self._folder = folder
        self._valid = corpus(folder)
        self._raw = {valid: valid.path.read_bytes() for valid in self._valid}
        self._expected = {valid: self._read(valid)[1] for valid in self._valid}
        assert all(self._expected.values())

    @property
    def largest(self) -> int:
        """Size of the largest valid file."""
        return max(map(len, self._raw.values()))

    def run(self, n: int) -> None:
        """Read `n` damaged files, with 1.5 times the largest valid file and 200 MB to spare."""
        with memory_limit(_SPARE + 3 * self.largest // 2):
            for _ in range(n):
                self._one()

    def _one(self) -> None:
        valid = self._valid[self._rng.integers(len(self._valid))]
        raw = self._raw[valid]
        right = valid.seal is not None and self._rng.random() < 0.5
        content = resealed(raw, str(valid.seal), self._rng) if right else damaged(raw, self._rng)
        valid.path.write_bytes(content)
        error, found = self._read(valid)
        valid.path.write_bytes(raw)
        self.counts["files"] += 1
        if found is None:
            self.counts["refused"] += 1
        elif found == self._expected[valid]:
            self.counts["same"] += 1
        else:
            self.counts["other"] += 1
        if isinstance(error, BaseException) and not isinstance(error, _REFUSALS):
            self._fault(valid, content, "".join(traceback.format_exception(error)[-4:]))
        if valid.is_checked and not right and found not in (None, self._expected[valid]):
            self._fault(valid, content, "damage passed the checksum")

    def _fault(self, valid: Valid, content: bytes, what: str) -> None:
        place = self._folder / f"fault-{len(self.faults)}-{valid.path.name}"
        place.write_bytes(content)
        self.faults.append(f"{place}: {what}")

    @staticmethod
    def _read(valid: Valid) -> tuple[BaseException | None, str | None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return None, LOADERS[valid.loader](valid.path)
            except Exception as error:
                return error, None
