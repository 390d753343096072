"""Every place for points passes the same tests."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest

from kflow.points.disk import DiskPlace
from kflow.testing import MemoryPlace, PlaceTests


class TestMemoryPlace(PlaceTests):
    def open(self, folder):
        return nullcontext(MemoryPlace())


@pytest.mark.slow
class TestDiskPlace(PlaceTests):
    def open(self, folder):
        return nullcontext(DiskPlace(folder / "points", 5_000_000))


@pytest.mark.slow
class TestSmallShards(PlaceTests):
    def open(self, folder):
        # A shard of 32-bit points in four coordinates has 7 of them.
        return nullcontext(DiskPlace(folder / "points", 5_000_000, largest_shard=7 * 16))


@pytest.mark.slow
class TestDaskPlace(PlaceTests):
    @contextmanager
    def open(self, folder):
        distributed = pytest.importorskip("distributed")
        from kflow.points.cluster import DaskPlace

        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield DaskPlace(client)
