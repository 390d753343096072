"""Flowed points in the plane: as they are, by principal directions, or by the places of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray

__all__ = ["PROJECTIONS", "PlaneMap", "plane_maps"]

PROJECTIONS = ("pca", "classes", None)

# Directions of the flowed points with less than this part of the largest singular value are left
# out of the least-squares map: earlier layers have energy there, which it would blow up.
_RCOND = 0.02


@dataclass(frozen=True)
class PlaneMap:
    """x -> (x - origin) directions, a map of points to the plane.

    Attributes
    ----------
    origin : ndarray (d,)
        The point that is mapped to (0, 0).
    directions : ndarray (d, 2)
        Directions of the two coordinates, in its columns.
    names : tuple of str
        Names of the two coordinates.
    """

    origin: FloatArray
    directions: FloatArray
    names: tuple[str, str]

    def __call__(self, points: FloatArray) -> FloatArray:
        """Map points (n, d)."""
        planar: FloatArray = (points - self.origin) @ self.directions
        return planar

    def velocities(self, velocities: FloatArray) -> FloatArray:
        """Map differences of points (n, d)."""
        planar: FloatArray = velocities @ self.directions
        return planar


def plane_maps(
    moved: list[FloatArray], projection: str | None, codes: npt.NDArray[np.intp] | None
) -> list[PlaneMap]:
    """Return a map to the plane for each of several arrays of points (n, d), in order of layers.

    Parameters
    ----------
    moved : list of ndarray (n, d)
        F_n of the same points for several n.
    projection : {"pca", "classes", None}
        ``"pca"``: the two leading principal directions of each array, with signs that agree with
        the array before. ``"classes"``: the linear least-squares map that sends the points of the
        last array to their classes' places on a circle, for all of them. None: the coordinates.
    codes : ndarray (n,) or None
        Number of each point's class.

    Raises
    ------
    ValueError
        For an unknown projection, or one that does not fit the points.
    """
    if projection not in PROJECTIONS:
        raise ValueError(f"projection must be one of {PROJECTIONS}, got {projection!r}")
    d = moved[0].shape[1]
    if projection is None:
        if d != 2:
            raise ValueError(
                f"X has {d} columns, which projection=None cannot draw: pass projection='pca' or "
                "'classes'"
            )
        identity = PlaneMap(np.zeros(2), np.eye(2), ("$x_1$", "$x_2$"))
        return [identity] * len(moved)
    if d < 2:
        raise ValueError("X has one column only, of which there is no picture in the plane")
    if projection == "classes":
        if codes is None:
            raise ValueError("projection='classes' needs classes: pass y")
        return [_classes_map(moved[-1], codes)] * len(moved)
    maps: list[PlaneMap] = []
    for points in moved:
        maps.append(_principal_map(points, maps[-1](moved[len(maps) - 1]) if maps else None))
    return maps


def _principal_map(points: FloatArray, before: FloatArray | None) -> PlaneMap:
    origin = points.mean(axis=0, dtype=np.float64)
    centred = points - origin
    n, d = centred.shape
    # Eigenvectors of the smaller of the two Gram matrices.
    if d <= n:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        directions = vectors[:, :-3:-1]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        # There are two directions even of one point; those without extent are orthonormal as well.
        values, vectors = np.append(0.0, values), np.column_stack([np.zeros(n), vectors])
        directions, _ = np.linalg.qr(centred.T @ vectors[:, :-3:-1])
    if before is None:  # whatever the eigenvectors' signs, the same picture
        heights = directions[np.abs(directions).argmax(axis=0), [0, 1]]
    else:
        heights = np.einsum("ij,ij->j", centred @ directions, before)
    directions = directions * np.where(heights < 0.0, -1.0, 1.0)
    total = max(float(values.sum()), np.finfo(float).tiny)
    shares = [max(float(value), 0.0) / total for value in values[:-3:-1]]
    first, second = (f"principal direction {i + 1} ({100 * s:.0f} %)" for i, s in enumerate(shares))
    return PlaneMap(origin, directions, (first, second))


def _classes_map(points: FloatArray, codes: npt.NDArray[np.intp]) -> PlaneMap:
    n_classes = int(codes.max()) + 1
    angles = 2.0 * np.pi * np.arange(n_classes) / n_classes + np.pi / 2.0
    places = np.column_stack([np.cos(angles), np.sin(angles)])[codes]
    origin = points.mean(axis=0, dtype=np.float64)
    centre = places.mean(axis=0)
    directions = np.linalg.lstsq(points - origin, places - centre, rcond=_RCOND)[0]
    # The points' mean goes to the places' mean, which is not (0, 0) if classes differ in size.
    shift: Any = np.linalg.lstsq(directions.T, centre, rcond=None)[0]
    return PlaneMap(origin - shift, directions, ("class coordinate 1", "class coordinate 2"))
