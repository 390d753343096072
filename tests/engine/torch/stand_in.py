"""A stand-in for a device: tensors that say that they are there, and whose numbers are in this process's memory.

Operations on tensors of two devices raise an error, as those of a real device do, and so does a look at the
numbers without a copy. It shows on a machine without such a device where code forgets the device.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["DEVICE", "OnDevice", "StandIn"]

# A device that every PyTorch has, whose tensors have no numbers without the stand-in.
DEVICE = "meta"

# What takes numbers from one device to another.
_CROSSING = {"_to_copy", "copy_"}


class OnDevice(torch.Tensor):
    """A tensor that says that it is on the device."""

    @staticmethod
    def __new__(cls, numbers):
        result = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        result.numbers = numbers
        return result

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self):
        return self.numbers.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), keywords=None):
        raise RuntimeError(f"{operation} outside of the stand-in")


def _numbers(x):
    return x.numbers if isinstance(x, OnDevice) else x


def _is_there(device):
    return device is not None and torch.device(device).type == torch.device(DEVICE).type


class StandIn(TorchDispatchMode):
    """The device, in a context.

    Attributes
    ----------
    n_operations : int
        How many operations have run on it.
    fails_in : int or None
        After how many further operations one fails; None for never.
    is_lost : bool
        Whether the device is lost when an operation has failed: then all others fail, too.
    """

    def __init__(self):
        super().__init__()
        self.n_operations, self.fails_in, self.is_lost = 0, None, False

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        name = operation.overloadpacket.__name__
        tensors = [x for x in tree_leaves((arguments, keywords)) if isinstance(x, torch.Tensor)]
        there = [isinstance(x, OnDevice) for x in tensors]
        # Numbers of this process may be factors, as those of Python are.
        here = [x for x, is_there in zip(tensors, there, strict=True) if not is_there and x.ndim]
        assert name in _CROSSING or not (any(there) and here), f"{operation} of two devices"
        on_device = any(there)
        if "device" in keywords and keywords["device"] is not None:
            on_device = _is_there(keywords["device"])
            keywords["device"] = "cpu"
        elif name == "copy_":
            on_device = there[0]
        if on_device or any(there):
            self._count()
        result = operation(*tree_map(_numbers, arguments), **tree_map(_numbers, keywords))
        if name == "_to_copy":  # also where nothing had to be done
            result = result.clone()
        given = {id(x.numbers): x for x in tensors if isinstance(x, OnDevice)}

        def as_device_gives(x):
            if not on_device or not isinstance(x, torch.Tensor):
                return x
            return given[id(x)] if id(x) in given else OnDevice(x)

        return tree_map(as_device_gives, result)

    def _count(self):
        self.n_operations += 1
        if self.fails_in is None:
            return
        self.fails_in -= 1
        if self.fails_in == -1 or (self.fails_in < 0 and self.is_lost):
            raise RuntimeError("the stand-in fails")
