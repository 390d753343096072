"""What compiled projects need to call the engine, without the interpreter's lock and without linking.

The header ``kflow.h`` describes a table of functions, and ``kflow_python.h`` takes it from the capsule
`C_API`. For Cython there is ``kflow/c_api.pxd``.
"""

from __future__ import annotations

from pathlib import Path

from kflow.engine.cpu.c_api import C_API

__all__ = ["C_API", "get_include"]


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
