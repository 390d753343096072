"""The engines that compute: a common interface, and a folder for each.

Everything that computes asks for an engine here; nothing else in the package knows a compiled module.
"""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module

from kflow._base.arguments import shown
from kflow.engine.cpu import ENGINE as HOST
from kflow.engine.interface import Engine
from kflow.engine.records import PRECISIONS

__all__ = ["HOST", "PRECISIONS", "engine_names", "engine_on", "get_engine"]

# HOST is the engine for arrays in this process's memory: kernel matrices, losses, interpolants.


@lru_cache  # every flow that is made asks
def engine_names() -> tuple[str, ...]:
    """Return the names of all engines: those of the folders here."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def engine_on(device: str | None) -> Engine:
    """Return the engine of a device of PyTorch, or the compiled core for None.

    Raises
    ------
    ImportError
        If PyTorch is not installed, or cannot use the device here.
    TypeError, ValueError
        If `device` is no name, or there is no such device.
    """
    if device is None:
        return HOST
    if not isinstance(device, str) or not device:
        raise TypeError(f"device must be the name of a device or None, got {shown(device)}")
    return get_engine("torch", device)


@lru_cache
def get_engine(name: str, device: str | None = None, precision: str = "float64") -> Engine:
    """Return an engine.

    Parameters
    ----------
    name : str
        One of `engine_names`.
    device : str, optional
        A device of an engine that knows several.
    precision : str, optional
        One of `PRECISIONS`: how exactly it computes there.

    Raises
    ------
    ImportError
        If the engine cannot run here; the message says why.
    ValueError
        If there is no engine of that name, or it knows no devices.
    """
    if not isinstance(name, str) or name not in engine_names():
        raise ValueError(f"engine must be one of {engine_names()}, got {name!r}")
    module = import_module(f"{__name__}.{name}")
    if device is None:
        engine = module.ENGINE
    elif hasattr(module, "on_device"):
        engine = module.on_device(device, precision)
    else:
        raise ValueError(f"engine={name!r} knows no devices, got device={device!r}: pass None")
    assert isinstance(engine, Engine)
    return engine
