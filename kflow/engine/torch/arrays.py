"""Tensors in the place of NumPy arrays: the functions of NumPy that formulas of flows use, by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kflow._base.array_types import FloatArray
from kflow.engine.device_array import DeviceArray, is_foreign, refuse_graph

__all__ = ["TorchArray", "adopted", "write"]

# Rows of a product, always as many: products of another shape may round otherwise.
_ROWS = 1024


def _tensor(value: Any, device: torch.device) -> Any:
    """Return arrays of either kind as tensors on a device; numbers and slices as they are."""
    if isinstance(value, TorchArray):
        return value.tensor
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value)).to(device)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return tuple(_tensor(each, device) for each in value)
    return value


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(str(dtype).removeprefix("torch."))


def _torch_dtype(dtype: npt.DTypeLike) -> torch.dtype:
    found: torch.dtype = getattr(torch, np.dtype(dtype).name)
    return found


def _both(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """Return a function of tensors that also takes a number in the place of one of them."""

    def of_numbers(a: Any, b: Any) -> Tensor:
        like = a if isinstance(a, Tensor) else b
        a, b = (x if isinstance(x, Tensor) else like.new_full((), x) for x in (a, b))
        return function(a, b)

    return of_numbers


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype) @ b.to(dtype)


_UFUNCS: dict[np.ufunc, Callable[..., Tensor]] = {
    np.absolute: torch.abs,
    np.add: _both(torch.add),
    np.bitwise_and: torch.bitwise_and,
    np.bitwise_or: torch.bitwise_or,
    np.equal: _both(torch.eq),
    np.exp: torch.exp,
    np.greater: _both(torch.gt),
    np.hypot: torch.hypot,
    np.invert: torch.bitwise_not,
    np.isfinite: torch.isfinite,
    np.less: _both(torch.lt),
    np.matmul: _matmul,
    np.maximum: _both(torch.maximum),
    np.multiply: _both(torch.mul),
    np.negative: torch.neg,
    np.sqrt: torch.sqrt,
    np.square: torch.square,
    np.subtract: _both(torch.sub),
    np.true_divide: _both(torch.true_divide),
}


def _concatenate(arrays: Any, axis: int = 0) -> TorchArray:
    device = next(x.tensor.device for x in arrays if isinstance(x, TorchArray))
    return TorchArray(torch.cat([_tensor(x, device) for x in arrays], dim=axis))


def _norm(x: TorchArray, axis: int, keepdims: bool = False) -> TorchArray:
    return TorchArray(torch.linalg.vector_norm(x.tensor, dim=axis, keepdim=keepdims))


def _svd(x: TorchArray, full_matrices: bool = True) -> tuple[TorchArray, ...]:
    return tuple(TorchArray(part) for part in torch.linalg.svd(x.tensor, full_matrices))


def _where(condition: TorchArray, a: Any, b: Any) -> TorchArray:
    device = condition.tensor.device
    return TorchArray(torch.where(condition.tensor, _tensor(a, device), _tensor(b, device)))


def _may_share_memory(a: Any, b: Any) -> bool:
    """Return whether two arrays share memory; True for those of other libraries, which do not tell."""
    tensors = [x.tensor if isinstance(x, TorchArray) else x for x in (a, b)]
    if all(isinstance(x, Tensor) for x in tensors):
        first, second = (x.untyped_storage().data_ptr() for x in tensors)
        return bool(first == second)
    return not any(isinstance(x, np.ndarray) for x in tensors)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: _concatenate,
    np.cumsum: lambda x, axis: TorchArray(torch.cumsum(x.tensor, dim=axis)),
    np.einsum: lambda text, *x: TorchArray(torch.einsum(text, *(each.tensor for each in x))),
    np.hstack: lambda arrays: _concatenate(arrays, axis=1),
    np.linalg.norm: _norm,
    np.linalg.svd: _svd,
    np.may_share_memory: _may_share_memory,
    np.sort: lambda x, axis: TorchArray(torch.sort(x.tensor, dim=axis).values),
    np.vdot: lambda a, b: TorchArray(torch.sum(a.tensor * b.tensor)),
    np.where: _where,
    np.zeros_like: lambda x: TorchArray(torch.zeros_like(x.tensor)),
}


class TorchArray(DeviceArray):
    """A tensor that formulas read as an array of NumPy; see `kflow.engine.device_array`.

    Attributes
    ----------
    tensor : Tensor
        The tensor, of a dtype that NumPy has, too.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute one of the functions above; NumPy raises TypeError for others."""
        out = options.pop("out", (None,))[0]
        function = _UFUNCS.get(ufunc)
        if method != "__call__" or options or function is None:
            return NotImplemented
        if not (out is None or isinstance(out, TorchArray)):
            return NotImplemented
        result = function(*(_tensor(x, self.tensor.device) for x in inputs))
        if out is None:
            return TorchArray(result)
        out.tensor.copy_(result)
        return out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Compute one of the functions above; NumPy raises TypeError for others."""
        known = _FUNCTIONS.get(function)
        return NotImplemented if known is None else known(*args, **kwargs)

    # ---- what it is ---------------------------------------------------------------------------

    @property
    def native(self) -> Tensor:
        """The tensor itself."""
        return self.tensor

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The lengths of the dimensions."""
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return int(self.tensor.ndim)

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The dtype as NumPy names it."""
        return _numpy_dtype(self.tensor.dtype)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self.tensor.nbytes)

    @property
    def T(self) -> TorchArray:
        """The transposed matrix, of the same memory."""
        return TorchArray(self.tensor.T)

    def __len__(self) -> int:
        """Return the length of the first dimension."""
        return len(self.tensor)

    def __bool__(self) -> bool:
        """Return the truth of an array of one number, which waits for the device."""
        return bool(self.tensor)

    def __float__(self) -> float:
        """Return the one number of an array, which waits for the device."""
        return float(self.tensor)

    def __getitem__(self, key: Any) -> TorchArray:
        """Return a part, by slices, row numbers or truth values of either kind."""
        return TorchArray(self.tensor[_tensor(key, self.tensor.device)])

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write to a part; numbers are rounded to the dtype of this array."""
        device = self.tensor.device
        values = _tensor(values, device)
        if isinstance(values, Tensor):
            values = values.to(self.tensor.dtype)
        self.tensor[_tensor(key, device)] = values

    # ---- other arrays -------------------------------------------------------------------------

    def to_host(self) -> npt.NDArray[Any]:
        """Return a new NumPy array with the same numbers."""
        return np.array(self.tensor.cpu().numpy())

    def beside(self, array: npt.NDArray[Any]) -> TorchArray:
        """Return a new array on this device with the numbers of a NumPy array."""
        return TorchArray(torch.from_numpy(np.array(array)).to(self.tensor.device))

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> TorchArray:
        """Return a new array on this device."""
        return TorchArray(self.tensor.new_empty(shape, dtype=_torch_dtype(dtype)))

    def contiguous(self, dtype: npt.DTypeLike) -> TorchArray:
        """Return the array in a dtype and in C order: its memory if it is such an array."""
        return TorchArray(self.tensor.to(_torch_dtype(dtype)).contiguous())

    def astype(self, dtype: npt.DTypeLike, copy: bool = True) -> TorchArray:
        """Return the array in a dtype."""
        return TorchArray(self.tensor.to(_torch_dtype(dtype), copy=copy))

    def copy(self) -> TorchArray:
        """Return a copy in C order."""
        return TorchArray(self.tensor.clone(memory_format=torch.contiguous_format))

    def reshape(self, *shape: int) -> TorchArray:
        """Return the numbers in another shape."""
        return TorchArray(self.tensor.reshape(*shape))

    def ravel(self) -> TorchArray:
        """Return the numbers in one dimension."""
        return self.reshape(-1)

    # ---- reductions ---------------------------------------------------------------------------

    def sum(self, axis: int, keepdims: bool = False) -> TorchArray:
        """Return sums along an axis."""
        return TorchArray(self.tensor.sum(dim=axis, keepdim=keepdims))

    def max(self, axis: int, keepdims: bool = False) -> TorchArray:
        """Return the largest numbers along an axis."""
        return TorchArray(self.tensor.amax(dim=axis, keepdim=keepdims))

    def argmax(self, axis: int) -> TorchArray:
        """Return the positions of the largest numbers along an axis."""
        return TorchArray(self.tensor.argmax(dim=axis))

    def all(self) -> TorchArray:
        """Return whether all are true."""
        return TorchArray(self.tensor.all())

    def any(self) -> TorchArray:
        """Return whether any is true."""
        return TorchArray(self.tensor.any())

    def all_finite(self, largest: float | None = None) -> bool:
        """Return whether there is no NaN, no infinity and nothing larger, by one transfer to the host."""
        if self.tensor.numel() == 0:
            return True
        if not self.tensor.is_floating_point():
            return True
        lowest, highest = torch.stack(torch.aminmax(self.tensor)).tolist()
        limit = float(torch.finfo(self.tensor.dtype).max) if largest is None else largest
        return bool(-limit <= lowest and highest <= limit)

    def product(self, A: npt.NDArray[Any]) -> TorchArray:
        """Return the matrix product with A, (d, q), in tiles of equal shape."""
        factor = _tensor(A, self.tensor.device)
        out = factor.new_empty(len(self), factor.shape[1])
        for first in range(0, len(self), _ROWS):
            x = self.tensor[first : first + _ROWS].to(factor.dtype)
            n = len(x)
            if n < _ROWS:
                x = torch.cat([x, x.new_zeros(_ROWS - n, x.shape[1])])
            out[first : first + n] = (x @ factor)[:n]
        return TorchArray(out)

    def picked_from(self, values: npt.NDArray[Any]) -> TorchArray:
        """Return ``values[self]``."""
        return TorchArray(_tensor(values, self.tensor.device)[self.tensor])


def adopted(value: Any, name: str, device: str) -> TorchArray | None:
    """Return a tensor, or what DLPack offers, as an array of a device: it shares its memory.

    Anything else is for NumPy, and None is returned.

    Raises
    ------
    TypeError
        If it is on another device, sparse, complex, or of a dtype that NumPy does not know.
    ValueError
        If derivatives of it are wanted.
    """
    if isinstance(value, TorchArray):
        return value
    if not is_foreign(value):
        return None
    tensor = value if isinstance(value, Tensor) else torch.from_dlpack(value)
    refuse_graph(tensor, name)
    if not _is_on(tensor, device):
        raise TypeError(
            f"{name} is on the device {str(tensor.device)!r}, and the flow on {device!r}: pass "
            f"{name}.to({device!r}), or make the flow or the estimator with device={str(tensor.device)!r}"
        )
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} is sparse, kflow needs dense arrays: pass {name}.to_dense()")
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    if (
        tensor.dtype == torch.bfloat16
    ):  # NumPy has no such numbers; all of them are numbers of float32
        tensor = tensor.float()
    try:
        _numpy_dtype(tensor.dtype)
    except TypeError:
        raise TypeError(f"{name} has dtype {tensor.dtype}: pass {name}.float()") from None
    return TorchArray(tensor)


def _is_on(tensor: Tensor, device: str) -> bool:
    """Return whether a tensor is on a device; "cuda" is the current one of several."""
    wanted = torch.device(device)
    if wanted.type == "cuda" and wanted.index is None:
        wanted = torch.device("cuda", torch.cuda.current_device())
    return bool(tensor.device == wanted)


def write(values: Tensor, out: FloatArray) -> None:
    """Write numbers to an array of either kind."""
    if isinstance(out, TorchArray):
        out.tensor.copy_(values)
    else:
        out[...] = values.cpu().numpy()
