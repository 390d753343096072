"""The public name of `kflow.storage.points_file`."""

from __future__ import annotations

from kflow.storage.points_file import read_points, write_points

__all__ = ["read_points", "write_points"]
