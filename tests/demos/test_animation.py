from __future__ import annotations

import io

from PIL import Image

from kflow.demos.animation import animated_gif


def test_animations(figure):
    ax = figure.axes[0]

    def frames():
        for n in range(3):
            ax.set_title(str(n))
            yield

    gif = animated_gif(figure, frames(), dpi=50)
    with Image.open(io.BytesIO(gif)) as image:
        assert (image.n_frames, image.size) == (3, (100, 50))
        image.seek(2)
        assert image.info["duration"] == 2000
