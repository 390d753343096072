"""The pictures that `kflow fit` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kflow.evaluation import ErrorCurve
    from kflow.flow.kernel_flow import KernelFlow

__all__ = ["draw_pictures"]


def draw_pictures(
    folder: Path, flow: KernelFlow, curve: ErrorCurve | None, note: Callable[[str], None]
) -> None:
    """Draw the loss and, for classes, their distances and the test error, each against the layer.

    Parameters
    ----------
    folder : Path
        Folder of the pictures, which are PNG files.
    flow : KernelFlow
        The fitted flow. A flow without layers has no pictures.
    curve : ErrorCurve or None
        The test errors; None for regression.
    note : callable
        Function that tells the user a line, such as that Matplotlib is missing.

    Raises
    ------
    OSError
        If a picture cannot be written.
    """
    if flow.n_layers_ == 0:
        return
    try:
        from matplotlib.figure import Figure

        from kflow import plotting
    except ImportError:
        note("No pictures: they need Matplotlib, pip install 'kflow[plot]'")
        return
    pictures: dict[str, Callable[[Any], Any]] = {
        "rho.png": lambda ax: plotting.LossDisplay.from_estimator(flow, ax=ax),
    }
    if curve is not None:
        errors = plotting.ErrorDisplay(curve.layers, curve.errors)
        pictures["errors.png"] = errors.plot
        pictures["class-distance-ratio.png"] = lambda ax: (
            plotting.ClassDistanceDisplay.from_estimator(flow, ax=ax)
        )
    for name, draw in pictures.items():
        figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
        draw(figure.subplots())
        figure.savefig(folder / name)
