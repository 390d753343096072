"""Points that move through the layers of a flow: as a GIF, and as a page with a slider."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from kflow._base.arguments import as_count, as_generator, as_positive
from kflow._base.array_types import Doubles
from kflow._base.files import replacing
from kflow._base.short_repr import ShortRepr
from kflow.flow.estimator_flow import as_layers, estimator_flow
from kflow.plotting.axes import square_limits
from kflow.plotting.colours import class_style, marker_area
from kflow.plotting.gif import animated_gif
from kflow.plotting.inputs import as_numbers, as_planar, class_codes
from kflow.plotting.names import class_name, drawn_name
from kflow.plotting.points import PointsDisplay
from kflow.plotting.projection import plane_maps

__all__ = ["FlowAnimation", "evenly_moved"]

# So many numbers of layers are looked at for each frame, as long as the points take no more bytes.
_CANDIDATES = 4
_MAX_BYTES = 2**28

# Coordinates in a page: whole numbers from minus to plus this one.
_RANGE = 32767


class FlowAnimation(ShortRepr):
    """Points in the plane that move through the layers of a flow, coloured by class.

    Parameters
    ----------
    points : array_like, shape (f, n, 2)
        The points in each of f frames.
    labels : array_like, shape (n,), optional
        Classes of these points.
    layers : sequence of f int, optional
        Number of layers of each frame; 0, 1, 2, ... if not given.
    axis_labels : pair of str
        Names of the coordinates.

    Attributes
    ----------
    ax_, figure_ : matplotlib axes and figure
        The axes and the figure of the last `plot`.
    """

    ax_: Axes
    figure_: Any

    def __init__(
        self,
        points: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        layers: Iterable[int] | None = None,
        *,
        axis_labels: tuple[str, str] = ("$x_1$", "$x_2$"),
    ) -> None:
        array = as_numbers(points, "points")
        if array.ndim != 3 or 0 in array.shape:
            raise ValueError(f"points must have shape (f, n, 2), got {array.shape}")
        self.points: Doubles = np.stack([as_planar(frame, "points") for frame in array])
        n_frames, n, _ = self.points.shape
        self.labels = None if labels is None else np.array(labels)
        self._classes, self._codes = class_codes(labels, n)
        numbers = range(n_frames) if layers is None else layers
        self.layers = [as_count(number, "layers", 0) for number in numbers]
        if len(self.layers) != n_frames:
            raise ValueError(f"layers must have {n_frames} entries, got {len(self.layers)}")
        self.axis_labels = axis_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        projection: str | None = "auto",
        n_points: int = 600,
        n_frames: int = 60,
        random_state: Any = 0,
    ) -> FlowAnimation:
        """Move points through a fitted flow, in frames between which they move about equally far.

        Parameters
        ----------
        estimator : KernelFlow, KernelFlowClassifier or KernelFlowRegressor
            A fitted flow or estimator, whose layers were kept, in memory or in a folder.
        X : array_like, shape (N, d)
            The points, one in each row.
        y : array_like, shape (N,), optional
            Classes of these points.
        projection : {"auto", "classes", "pca"} or None
            How points are drawn in the plane: always by one map of the last F_n(X), the same for all
            frames. ``"classes"``: the linear least-squares map to the classes' places on a circle,
            whose two directions tell the classes apart; it needs y. ``"pca"``: the two leading
            principal directions. None: as they are, for d = 2. ``"auto"``: as they are for d = 2,
            else by classes if y is given, else by principal directions.
        n_points : int
            Largest number of points; of more rows some are drawn at random.
        n_frames : int
            Largest number of frames. A flow of fewer layers has one for each.
        random_state : None, int or numpy.random.Generator
            Source of the drawn points.

        Returns
        -------
        FlowAnimation

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind, shape or values. The message names it.

        Notes
        -----
        It costs one replay of the points through all layers, and up to 256 MB of memory while it runs.
        """
        fitted = estimator_flow(estimator)
        most, wanted = as_count(n_points, "n_points", 1), as_count(n_frames, "n_frames", 2)
        points = fitted.scaled(X)
        labels = None
        if y is not None:
            class_codes(y, len(points), "y")
            labels = np.ravel(np.asarray(y))
        if len(points) > most:
            rows = np.sort(as_generator(random_state).permutation(len(points))[:most])
            points, labels = points[rows], None if labels is None else labels[rows]
        codes = None if labels is None else class_codes(labels, len(points))[1]
        if projection == "auto":
            higher = "pca" if labels is None else "classes"
            projection = None if points.shape[1] == 2 else higher
        some = max(wanted, min(_CANDIDATES * wanted, _MAX_BYTES // max(points.nbytes, 1)))
        layers = as_layers(None, fitted.flow, some)
        moved = list(fitted.flow.trajectory(points, layers))
        plane = plane_maps(moved[-1:], projection, codes)[0]
        planar = np.stack([plane(positions) for positions in moved]).astype(np.float64)
        frames = evenly_moved(planar, wanted)
        chosen = [layers[frame] for frame in frames]
        return cls(planar[frames], labels, chosen, axis_labels=plane.names)

    def plot(
        self,
        ax: Any = None,
        *,
        frame: int = -1,
        size: float | None = None,
        class_names: str | None = "auto",
    ) -> FlowAnimation:
        """Draw one frame on axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; a new figure if not given.
        frame : int
            Which frame; the last one if not given.
        size, class_names
            As in `PointsDisplay.plot`.

        Returns
        -------
        FlowAnimation
            The animation itself.
        """
        display = PointsDisplay(
            self.points[frame], self.labels, self.layers[frame], axis_labels=self.axis_labels
        ).plot(ax, size=size, class_names=class_names)
        self.ax_, self.figure_ = display.ax_, display.figure_
        return self

    # ---- files --------------------------------------------------------------------------------

    def to_gif(self, *, size: int = 480, rate: float = 12.0) -> bytes:
        """Return the animation as the content of a GIF file.

        Parameters
        ----------
        size : int
            Height and width in pixels, at least 100.
        rate : float
            Frames per second. The last frame is shown for two seconds.
        """
        pixels = as_count(size, "size", 100)
        figure = Figure(figsize=(4.8, 4.8), layout="constrained", facecolor="white")
        ax = figure.subplots()
        display = PointsDisplay(self.points[0], self.labels).plot(ax, class_names=None)
        square_limits([ax], self.points, margin=0.04)
        ax.set_axis_off()
        if self.labels is not None:
            self._name_classes(ax)
        frames = self._frames(ax, display.scatters_[0])
        return animated_gif(figure, frames, dpi=pixels / 4.8, rate=as_positive(rate, "rate"))

    def _frames(self, ax: Axes, scatters: list[Any]) -> Iterator[None]:
        for n, points in zip(self.layers, self.points, strict=True):
            for code, scatter in enumerate(scatters):
                scatter.set_offsets(points[self._codes == code])
            ax.set_title(f"n = {n}", fontsize=11)
            yield

    def _name_classes(self, ax: Axes) -> None:
        """Write the names of the classes above the points, in a legend of up to ten columns."""
        handles = [
            ax.scatter([], [], s=30, color=class_style(code)[0], marker=class_style(code)[1])
            for code in range(len(self._classes))
        ]
        names = [drawn_name(label) for label in self._classes]
        ax.figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=min(len(names), 10),
            frameon=False,
            fontsize=9,
            handletextpad=0.1,
            columnspacing=0.9,
        )

    def to_html(self, *, rate: float = 12.0) -> str:
        """Return the animation as an HTML page with a slider, which needs nothing else.

        Parameters
        ----------
        rate : float
            Frames per second.

        Notes
        -----
        Points take 16 / 3 bytes in each frame: 190 KB for 60 frames of 600 points.
        """
        low, high = self.points.min(axis=(0, 1)), self.points.max(axis=(0, 1))
        half = 0.54 * max(float((high - low).max()), 1e-12)
        whole = np.rint((self.points - (low + high) / 2.0) / half * _RANGE).astype("<i2")
        n_classes, n = len(self._classes), self.points.shape[1]
        data = {
            "points": base64.b64encode(whole.tobytes()).decode(),
            "codes": self._codes.tolist(),
            "layers": self.layers,
            "names": [] if self.labels is None else [class_name(c) for c in self._classes],
            "colours": [_on_any_page(class_style(code)[0]) for code in range(n_classes)],
            "radius": float(np.sqrt(marker_area(n) / np.pi)) * 1.4,
            "rate": as_positive(rate, "rate"),
        }
        page = resources.files("kflow.plotting").joinpath("slider.html").read_text("utf-8")
        # What begins with "<" may end a script, or begin another.
        text = json.dumps(data).replace("<", "\\u003c")
        title = f"{n} points in a flow of {self.layers[-1]} layers"
        return page.replace("TITLE", escape(title)).replace("DATA", text)

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the animation to a file.

        Parameters
        ----------
        path : path
            A name that ends in ``.gif``, or in ``.html`` for a page with a slider.
        **options
            Further arguments of `to_gif` or `to_html`.

        Raises
        ------
        OSError
            If the file cannot be written; an earlier file of that name is then untouched.
        ValueError
            For any other ending.
        """
        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending == ".gif":
            content = self.to_gif(**options)
        elif ending in (".html", ".htm"):
            content = self.to_html(**options).encode()
        else:
            raise ValueError(f"path must end in .gif or .html, got {os.fspath(path)!r}")
        with replacing(path) as file:
            file.write(content)

    def _repr_html_(self) -> str:
        """Return the page for notebooks."""
        page = escape(self.to_html(), quote=True)
        style = "border:0;width:100%;max-width:560px;height:660px"
        return f'<iframe srcdoc="{page}" style="{style}"></iframe>'


def _on_any_page(colour: str) -> str:
    """Return a colour that is seen on dark pages, too: grey for black."""
    return "#777777" if to_hex(colour) == "#000000" else to_hex(colour)


def evenly_moved(planar: Doubles, n_frames: int) -> npt.NDArray[np.intp]:
    """Choose frames (f, n, 2), the first and the last among them, at even parts of the way.

    A quarter of the way counts as even in layers, so that long rests are seen as such.
    """
    steps = np.sqrt(np.square(np.diff(planar, axis=0)).sum(axis=2).mean(axis=1))
    total = float(steps.sum())
    even = np.full(len(steps), 1.0 / max(len(steps), 1))
    shares = 0.75 * steps / total + 0.25 * even if total > 0.0 else even
    way = np.append(0.0, np.cumsum(shares))
    nearest = np.searchsorted(way, np.linspace(0.0, way[-1], n_frames))
    return np.unique(np.append(0, np.minimum(nearest, len(planar) - 1))).astype(np.intp)
