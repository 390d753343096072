"""Estimator parameters that work on the known data sets: what `kflow fit` uses unless told otherwise."""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

# A small nugget learns the detail; then a large one collapses the classes, so that ten
# interpolation points are as good as thousands.
_IMAGES: dict[str, Any] = {
    "n_layers": 1300,
    "nugget": {0: 0.01, 800: 1.0},
    "step": {0: "relative", 800: "rms"},
    "step_size": {0: 0.1, 800: 0.02},
    "scaling": "unit",
    "rank": 150,
}

PRESETS: dict[str, dict[str, Any]] = {
    "digits": {"n_layers": 400},
    "mnist": _IMAGES,
    "fashion-mnist": _IMAGES,
}
