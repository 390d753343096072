"""The parts of Dask that kflow uses. If Dask is missing, an error says how to install it."""

from __future__ import annotations

try:
    from distributed import Client, Future
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise ImportError(
        f"a flow on a cluster needs dask.distributed ({error}): pip install 'kflow[dask]'"
    ) from error

__all__ = ["Client", "Future", "WorkerPlugin"]
