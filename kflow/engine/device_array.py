"""Arrays that an engine keeps on a device, in the place of NumPy arrays.

A `DeviceArray` takes part in NumPy's protocols for functions of other arrays (NEP 13 and NEP 18): operators,
and the functions of NumPy that its class lists, are computed where the array is. NumPy arrays beside it are
copied there, which suits the mean of some columns, and not the points. So one formula serves arrays in memory
and arrays on a device. Any other function raises TypeError, and nothing copies an array to the host but `to_host`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["DeviceArray", "given_back", "is_foreign", "refuse_elsewhere", "refuse_graph", "to_host"]

# The kinds of device, as DLPack numbers them, whose memory NumPy reads: the processor's own, and pages of it
# that CUDA has pinned.
_IN_MEMORY = (1, 3)


class DeviceArray(NDArrayOperatorsMixin, ABC):
    """An array on a device; see above for what can be done with it.

    It also has what formulas use of NumPy's own arrays: ``shape``, ``ndim``, ``dtype``, ``nbytes``, ``T``, ``len``,
    indices, and the methods ``astype``, ``copy``, ``ravel``, ``reshape``, ``sum``, ``max``, ``argmax``, ``all`` and
    ``any``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __array__(self, *_: Any, **__: Any) -> npt.NDArray[Any]:
        """Raise TypeError: no function copies an array from its device unasked."""
        raise TypeError(
            "this array is on a device, and this function of NumPy is not computed there"
        )

    @property
    @abstractmethod
    def native(self) -> Any:
        """The array as the device's own library knows it, such as a tensor; not a copy."""

    @abstractmethod
    def to_host(self) -> npt.NDArray[Any]:
        """Return a NumPy array with the same numbers."""

    @abstractmethod
    def beside(self, array: npt.NDArray[Any]) -> Any:
        """Return an array on this device with the numbers of a NumPy array."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """Return a new array on this device, without any numbers yet."""

    @abstractmethod
    def contiguous(self, dtype: npt.DTypeLike) -> Any:
        """Return the array in a dtype and in C order: itself if it is such an array."""

    @abstractmethod
    def all_finite(self, largest: float | None = None) -> bool:
        """Return whether there is no NaN, no infinity and, if `largest` is given, nothing larger."""

    @abstractmethod
    def product(self, A: npt.NDArray[Any]) -> Any:
        """Return the matrix product of rows (n, d) and A, (d, q), in the dtype of A.

        Each row of the result depends on that row alone, and not on n.
        """

    @abstractmethod
    def picked_from(self, values: npt.NDArray[Any]) -> Any:
        """Return ``values[self]`` for an array of positions: an array on this device."""


def to_host(array: Any) -> Any:
    """Return a NumPy array with the numbers of an array of either kind: itself if it is one."""
    return array.to_host() if isinstance(array, DeviceArray) else array


def given_back(array: Any) -> Any:
    """Return an array as users see it: a device's array as that of the device's library."""
    return array.native if isinstance(array, DeviceArray) else array


def is_foreign(value: Any) -> bool:
    """Return whether a value is an array of another library, which offers its memory by DLPack."""
    return not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "__dlpack__")


def refuse_graph(value: Any, name: str) -> None:
    """Raise ValueError for a tensor of which derivatives are wanted, which none of the results would have."""
    if getattr(value, "requires_grad", False) is True:
        raise ValueError(
            f"{name} requires a gradient, which results would not have: pass {name}.detach(); "
            "kflow.torch has losses that can be differentiated"
        )


def refuse_elsewhere(value: Any, name: str) -> None:
    """Raise an error for an array of another library that NumPy cannot read.

    Raises
    ------
    TypeError
        If it is on a device; the message says which, and what to do.
    ValueError
        If derivatives of it are wanted.
    """
    if not is_foreign(value):
        return
    refuse_graph(value, name)
    try:
        kind = int(value.__dlpack_device__()[0])
    except Exception:  # each library has errors of its own, such as for devices without memory
        kind = 0
    if kind not in _IN_MEMORY:
        where = str(getattr(value, "device", f"of DLPack's kind {kind}"))
        raise TypeError(
            f"{name} is on the device {where}, and here arrays in this process's memory are needed: pass "
            f"{name}.cpu().numpy(), or make the flow or the estimator with device={where!r}"
        )
