"""Estimator parameters for the known data sets: what `kflow fit` uses unless told otherwise.

Chosen on a part of the training images that was held out.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]


def _images(switch: int, n_layers: int, **parameters: Any) -> dict[str, Any]:
    """Return the two phases of a flow of images.

    A small nugget learns the detail; after the switch a large one collapses the classes, so that
    one interpolation point for each class does as well as thousands.
    """
    return {
        "n_layers": n_layers,
        "nugget": {0: 0.01, switch: 1.0},
        "step": {0: "relative", switch: "rms"},
        "step_size": {0: 0.1, switch: 0.02},
        "n_halves": 2,
        "interpolation_nugget": 0.01,
        "batch_size": 600,
        "scaling": "unit",
        **parameters,
    }


PRESETS: dict[str, dict[str, Any]] = {
    # A batch of most of the training points would learn them by heart.
    "digits": _images(switch=200, n_layers=400, batch_size=200),
    "mnist": _images(switch=800, n_layers=1000, rank=150),
    "fashion-mnist": _images(switch=1200, n_layers=1600, rank=150, nugget={0: 0.03, 1200: 1.0}),
}
