from __future__ import annotations

import io

from matplotlib.figure import Figure
from PIL import Image

from kflow.plotting.gif import animated_gif


def test_animations():
    figure = Figure(figsize=(2.0, 1.0))
    ax = figure.subplots()

    def frames():
        for n in range(3):
            ax.set_title(str(n))
            yield

    gif = animated_gif(figure, frames(), dpi=50)
    with Image.open(io.BytesIO(gif)) as image:
        assert (image.n_frames, image.size) == (3, (100, 50))
        image.seek(2)
        assert image.info["duration"] == 2000
