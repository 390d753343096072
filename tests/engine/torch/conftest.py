"""What the tests of this engine share."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

# Without PyTorch nothing here can be tested.
if not find_spec("torch"):
    collect_ignore_glob = ["test_*.py"]
else:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class NoWaiting(TorchDispatchMode):
        """Raises an error where the host would wait for numbers of a device."""

        WAITING = ("_local_scalar_dense", "item", "nonzero", "unique", "is_nonzero", "equal")

        def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
            name = operation.overloadpacket.__name__
            assert not any(name.lstrip("_").startswith(w.lstrip("_")) for w in self.WAITING), name
            return operation(*arguments, **(keywords or {}))

    class Recorder:
        """Records functions as a CUDA graph does: the same tensors are read and written each time."""

        def __init__(self):
            self.n_recorded = self.n_runs = 0

        def __call__(self, work):
            self.n_recorded += 1
            with NoWaiting():
                results = work()
            for result in results:  # nothing is computed while a graph is recorded
                result.zero_()

            def again():
                self.n_runs += 1
                with NoWaiting():
                    for result, new in zip(results, work(), strict=True):
                        result.copy_(new)

            return again, results


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """The matrices are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def cloud():
    """Points in two classes, of several tiles: coordinates, targets, and others to follow."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 6))
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)
    return X, np.eye(2)[labels], rng.normal(size=(300, 6))
