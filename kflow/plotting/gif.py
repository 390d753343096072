"""Animations of a Matplotlib figure."""

from __future__ import annotations

import io
from collections.abc import Iterable

from matplotlib.figure import Figure
from PIL import Image

__all__ = ["animated_gif"]


def animated_gif(
    figure: Figure,
    frames: Iterable[object],
    *,
    dpi: float = 90,
    rate: float = 12.0,
    rest: float = 2.0,
) -> bytes:
    """Draw a figure once for each frame, and return the frames as an animation.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    frames : iterable
        An iterable that changes the figure before it yields, once for each frame. The values that it
        yields are not used.
    dpi : float
        Dots per inch.
    rate : float
        Frames per second.
    rest : float
        Seconds for which the last frame is shown before the animation starts again.

    Returns
    -------
    bytes
        Content of a GIF file of 64 colours.
    """
    images = []
    for _ in frames:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
        # Without dithering, which would make all frames differ everywhere.
        images.append(Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE))
        # The layout of the first frame is kept: nothing moves, and drawing is twice as fast.
        figure.set_layout_engine("none")
    durations = [round(1000.0 / rate)] * (len(images) - 1) + [round(1000.0 * rest)]
    written = io.BytesIO()
    images[0].save(
        written, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
    )
    return written.getvalue()
