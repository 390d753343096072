"""What compiled projects need to call the engine, without the interpreter's lock and without linking.

The header ``kflow.h`` describes a table of functions, and ``kflow_python.h`` takes it from the capsule
`C_API`. For Cython there is ``kflow/c_api.pxd``, for ctypes and Numba `function_address`.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from kflow.engine.cpu.c_api import C_API

__all__ = ["C_API", "FUNCTIONS", "function_address", "get_include"]

# The functions in the order of the table, which begins with two numbers of 32 bits.
FUNCTIONS = (
    "kflow_version",
    "simd_level",
    "family",
    "gram_f32",
    "gram_f64",
    "apply_f32",
    "apply_f64",
    "rho_f64",
    "layer_f32",
    "layer_f64",
    "replay_f32",
    "replay_f64",
)


def get_include() -> str:
    """Return the folder with ``kflow.h`` and ``kflow_python.h``.

    Returns
    -------
    str
        A path for the compiler's option ``-I``.

    Examples
    --------
    >>> import os, kflow
    >>> sorted(os.listdir(kflow.get_include()))
    ['kflow.h', 'kflow_python.h']
    """
    return str(Path(__file__).parent / "include")


def function_address(name: str) -> int:
    """Return the address of a function of the engine, for what calls C without a compiler.

    Parameters
    ----------
    name : str
        The name of a function in ``kflow.h``, such as "gram_f64". Its arguments are described there.

    Returns
    -------
    int
        An address that is valid as long as the process lives.

    Raises
    ------
    ValueError
        If there is no function of that name.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"name must be one of {FUNCTIONS}, got {name!r}")
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get_pointer(C_API, b"kflow.c_api.C_API")
    addresses = (ctypes.c_void_p * len(FUNCTIONS)).from_address(table + 8)
    return int(addresses[FUNCTIONS.index(name)] or 0)
