"""Files of points: the name under which `kflow.storage.points_file` is documented."""

from __future__ import annotations

from kflow.storage.points_file import read_points, write_points

__all__ = ["read_points", "write_points"]
