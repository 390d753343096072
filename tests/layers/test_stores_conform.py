"""Every store passes the same tests."""

from __future__ import annotations

from kflow.layers.stores import MemoryLayers, NoLayers
from kflow.storage.folder_layers import FolderLayers
from kflow.testing import StoreTests


class TestMemoryLayers(StoreTests):
    def make(self, shape, rank, folder):
        return MemoryLayers(shape, rank)


class TestNoLayers(StoreTests):
    keeps_layers = False

    def make(self, shape, rank, folder):
        return NoLayers(shape, rank)


class TestFolderLayers(StoreTests):
    def make(self, shape, rank, folder):
        return FolderLayers(folder, shape, rank, "of-a-test")
