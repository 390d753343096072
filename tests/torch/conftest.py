from __future__ import annotations

from importlib.util import find_spec

import pytest

# Without PyTorch only what happens then can be tested.
collect_ignore_glob = [] if find_spec("torch") else ["test_[!w]*.py"]


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """The matrices are small."""
    if not find_spec("torch"):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
