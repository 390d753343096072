"""Memory that is locked for a device is given back, and what cannot be locked is told."""

from __future__ import annotations

import pytest
import torch

from kflow.engine.torch.page_locked import PageLocked
from kflow.errors import EngineWarning


class Runtime:
    """CUDA's functions for memory of the host, as far as they are needed here."""

    def __init__(self, room):
        self.room, self.locked = room, {}

    def cudaHostRegister(self, pointer, size, flags):
        if sum(self.locked.values()) + size > self.room:
            return 2  # out of memory
        self.locked[pointer] = size
        return 0

    def cudaHostUnregister(self, pointer):
        del self.locked[pointer]
        return 0


def test_locked_as_long_as_it_lives(monkeypatch):
    runtime = Runtime(1000)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    tensors = [torch.zeros(50), torch.zeros(0), torch.zeros(100)]
    locked = PageLocked(tensors, "cuda:0")
    assert runtime.locked == {tensors[0].data_ptr(): 200, tensors[2].data_ptr(): 400}
    del locked
    assert runtime.locked == {}


def test_what_cannot_be_locked(monkeypatch):
    runtime = Runtime(300)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    with pytest.warns(EngineWarning, match="cannot be locked for the device"):
        locked = PageLocked([torch.zeros(50), torch.zeros(100)], "cuda:0")
    assert list(runtime.locked.values()) == [200]
    del locked
    assert runtime.locked == {}


def test_nothing_is_done_for_other_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "cudart", lambda: pytest.fail("asked for"))
    PageLocked([torch.zeros(50)], "cpu")
