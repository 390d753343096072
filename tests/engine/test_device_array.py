"""Arrays of other libraries: which are read by NumPy, which are refused, and what is told."""

from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.engine import HOST
from kflow.engine.device_array import (
    DeviceArray,
    given_back,
    is_foreign,
    refuse_elsewhere,
    to_host,
)

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X[:, 0]


class Foreign:
    """An array of another library, on some device."""

    def __init__(self, array, kind, device="cuda:1", requires_grad=False):
        self.array, self.kind, self.device = array, kind, device
        self.requires_grad = requires_grad

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.kind, 0

    def __array__(self, dtype=None, copy=None):
        assert self.kind == 1
        return self.array


def test_arrays_of_numpy_are_not_foreign():
    assert not is_foreign(X)
    assert not is_foreign(X[0, 0])
    assert not is_foreign([[1.0]])
    assert is_foreign(Foreign(X, 1))


@pytest.mark.parametrize("kind", [1, 3])
def test_memory_of_this_process_is_read_by_numpy(kind):
    assert HOST.adopt(Foreign(X, kind), "X") is None


def test_the_compiled_core_reads_what_is_in_memory():
    settings = {"n_layers": 2, "batch_size": 10, "random_state": 0}
    flow = kflow.KernelFlow(**settings).fit(Foreign(X, 1), Y)
    assert isinstance(flow.points_, np.ndarray)
    np.testing.assert_array_equal(flow.points_, kflow.KernelFlow(**settings).fit(X, Y).points_)


def test_a_device_is_named_with_the_remedy():
    with pytest.raises(TypeError, match=r"^X is on the device cuda:1.*device='cuda:1'"):
        kflow.KernelFlow(n_layers=1, batch_size=10).fit(Foreign(X, 2), Y)
    with pytest.raises(TypeError, match=r"^y is on the device cuda:1.*y.cpu\(\).numpy\(\)"):
        kflow.KernelFlowRegressor(n_layers=1).fit(X, Foreign(Y, 2))
    fitted = kflow.KernelFlowRegressor(n_layers=0).fit(X, Y)
    with pytest.raises(TypeError, match=r"^X is on the device"):
        fitted.predict(Foreign(X, 2))


def test_a_device_of_which_dlpack_knows_nothing():
    class Nowhere(Foreign):
        def __dlpack_device__(self):
            raise RuntimeError("no such device")

    with pytest.raises(TypeError, match="on the device meta"):
        refuse_elsewhere(Nowhere(X, 0, "meta"), "X")


def test_derivatives_are_refused():
    with pytest.raises(ValueError, match=r"^X requires a gradient.*X.detach\(\)"):
        refuse_elsewhere(Foreign(X, 1, requires_grad=True), "X")


def test_no_function_of_numpy_copies_an_array_from_its_device():
    class Silent(DeviceArray):
        native = "tensor"
        beside = empty = contiguous = all_finite = product = picked_from = None

        def to_host(self):
            return X

        def __array_ufunc__(self, *_, **__):
            return NotImplemented

    array = Silent()
    for call in (np.asarray, np.sin, np.linalg.eigvals):
        with pytest.raises(TypeError):
            call(array)
    assert to_host(array) is X
    assert given_back(array) == "tensor"
    assert to_host(X) is X
    assert given_back(X) is X
