from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from soak.corpus import LOADERS, corpus
from soak.fuzzing import Fuzzer, memory_limit
from soak.mutations import damaged, resealed


@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_are_refused_or_read_as_they_were(tmp_path, seed):
    fuzzer = Fuzzer(tmp_path, seed)
    fuzzer.run(600)
    assert fuzzer.faults == []
    assert fuzzer.counts["refused"] > 400
    assert fuzzer.counts["same"] > 0


def test_every_loader_has_files(tmp_path):
    kinds = Counter(valid.loader for valid in corpus(tmp_path))
    assert kinds.keys() == LOADERS.keys()


def test_damage_changes_bytes_and_a_seal_is_made_right_again(tmp_path):
    rng = np.random.default_rng(0)
    raw = bytes(range(256)) * 3
    assert sum(damaged(raw, rng) != raw for _ in range(100)) > 90
    read = {"same": 0, "refused": 0}
    for valid in corpus(tmp_path):
        if valid.seal == "tensors" and valid.loader != "checkpoint":
            content = valid.path.read_bytes()
            for _ in range(30):
                valid.path.write_bytes(resealed(content, "tensors", rng))
                try:
                    LOADERS[valid.loader](valid.path)
                    read["same"] += 1
                except ValueError:
                    read["refused"] += 1
    assert min(read.values()) > 0


def test_a_memory_limit_holds_and_ends():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with memory_limit(100 * 2**20), pytest.raises(MemoryError):
        bytearray(300 * 2**20)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_fault_is_kept(tmp_path, monkeypatch):
    fuzzer = Fuzzer(tmp_path, 0)
    monkeypatch.setitem(LOADERS, "csv", lambda _: 1 / 0)
    monkeypatch.setitem(LOADERS, "block", lambda _: "another")
    fuzzer.run(200)
    assert any("ZeroDivisionError" in fault for fault in fuzzer.faults)
    assert any("damage passed the checksum" in fault for fault in fuzzer.faults)
    assert all(Path(fault.split(": ")[0]).exists() for fault in fuzzer.faults)
