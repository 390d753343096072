"""Estimator parameters for the known data sets, which are the defaults of `kflow fit`, and for a flow.

Those for images were chosen by their errors on a part of the training images that was held out, but
for the pixels of cifar-10, whose settings are those of fashion-mnist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from kflow.kernels import RationalQuadratic

__all__ = ["AUGMENTED", "FIXED", "IMAGE_PRESETS", "PRESETS", "SCATTERING", "Preset"]

# A flow with which nothing is left to be chosen: it is fitted in an instant, and suits small data with
# little noise.
FIXED: dict[str, Any] = {
    "kernel": None,
    "metric": None,
    "n_layers": 100,
    "batch_size": 100,
    "nugget": 3.0,
    "step_size": 0.01,
    "gradient_cap": math.inf,
    "interpolation_nugget": 1.0,
    "dtype": "float32",
}

# The first phase of each flow learns the detail with a small nugget; the second collapses the
# classes with a large one, so that one interpolation point for each class does as well as
# thousands.
_IMAGES: dict[str, Any] = {
    "kernel": None,
    "metric": None,
    "n_halves": 2,
    "gradient_cap": math.inf,
    "scaling": "unit",
    "dtype": "float32",
}
_LARGE_SETS: dict[str, Any] = {
    **_IMAGES,
    "rank": 150,
    "shrink_every": 20,
    "shrink_tolerance": 1e-3,
    "batch_size": 1200,
    "step": "rms",
    "n_interpolation": 2000,
}

PRESETS: dict[str, dict[str, Any]] = {
    "digits": {
        **_IMAGES,
        "batch_size": 200,  # larger batches would interpolate most of the training points
        "n_layers": 400,
        "nugget": {0: 0.01, 200: 1.0},
        "step": {0: "relative", 200: "rms"},
        "step_size": {0: 0.1, 200: 0.02},
        "interpolation_nugget": 0.01,
    },
    "mnist": {
        **_LARGE_SETS,
        "n_layers": 360,
        "nugget": {0: 0.01, 300: 4.0},
        "gradient_cap": {0: 2.0, 300: math.inf},
        "step_size": {0: 0.02, 340: 0.01},
        "interpolation_nugget": 0.01,
    },
    "fashion-mnist": {
        **_LARGE_SETS,
        # A kernel with heavy tails: (1 + 3 r^2 / msd)^-1 with the mean squared distance msd of
        # the images.
        "kernel": RationalQuadratic(length_scale=0.37, alpha=1.0),
        "n_layers": 600,
        "nugget": {0: 0.25, 220: 2.0},
        "gradient_cap": {0: 1.0, 220: math.inf},
        "step_size": {0: 0.02, 580: 0.01},
        "interpolation_nugget": 1.0,
    },
    # Photographs say little by their pixels: this is for comparison with their scattering.
    "cifar-10": {
        **_LARGE_SETS,
        "kernel": RationalQuadratic(length_scale=0.25, alpha=1.0),  # as above
        "n_layers": 600,
        "nugget": {0: 0.25, 220: 2.0},
        "gradient_cap": {0: 1.0, 220: math.inf},
        "step_size": {0: 0.02, 580: 0.01},
        "interpolation_nugget": 1.0,
    },
}


@dataclass(frozen=True)
class Preset:
    """Parameters of `kflow.features.ImageEncoder`, and of the classifier behind it.

    Attributes
    ----------
    encoder : dict
        Those of the encoder.
    estimator : dict
        Those of the classifier, whose points are the encoder's coordinates.
    augmentation : dict or None
        Parameters of `kflow.features.Augmentation`, which makes changed copies of the training images.
    n_views : int
        Views of an image over which predictions are averaged.
    """

    encoder: dict[str, Any] = field(default_factory=dict)
    estimator: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] | None = None
    n_views: int = 1


# The kernels of figures are (1 + 3 r^2 / msd)^-1 with the mean squared distance msd of the
# coordinates, that of photographs is exp(-1.5 r^2 / msd).
_COORDINATES: dict[str, Any] = {
    **_LARGE_SETS,
    "scaling": None,
    "rank": "auto",
}

SCATTERING: dict[str, Preset] = {
    "digits": Preset(
        {"J": 1, "n_components": 60},
        {
            **PRESETS["digits"],
            "scaling": None,
            "nugget": {0: 0.1, 200: 1.0},
        },
    ),
    "mnist": Preset(
        {"n_components": 300},
        {
            **_COORDINATES,
            "kernel": RationalQuadratic(length_scale=0.395, alpha=1.0),
            "n_layers": 260,
            "nugget": {0: 0.25, 200: 4.0},
            "gradient_cap": {0: 0.5, 200: math.inf},
            "step_size": {0: 0.02, 240: 0.01},
            "interpolation_nugget": 0.01,
        },
    ),
    "fashion-mnist": Preset(
        {"n_components": 400},
        {
            **_COORDINATES,
            "batch_size": 1600,
            "kernel": RationalQuadratic(length_scale=0.504, alpha=1.0),
            "n_layers": 340,
            "nugget": {0: 0.25, 220: 2.0},
            "gradient_cap": {0: 1.0, 220: math.inf},
            "step_size": {0: 0.02, 320: 0.01},
            "interpolation_nugget": 1.0,
        },
    ),
    "cifar-10": Preset(
        {"n_filters": 512, "colours": "rgb", "n_components": 500, "padding": "reflect"},
        {
            **_COORDINATES,
            "batch_size": 1600,
            "n_layers": 320,
            "nugget": {0: 0.25, 200: 2.0},
            "gradient_cap": {0: 1.0, 200: math.inf},
            "step_size": {0: 0.02, 300: 0.01},
            "interpolation_nugget": 1.0,
        },
    ),
}

AUGMENTED: dict[str, Preset] = {
    "mnist": replace(SCATTERING["mnist"], augmentation={"n_copies": 4, "shift": 1}, n_views=5),
    "cifar-10": Preset(
        {**SCATTERING["cifar-10"].encoder, "n_filters": 1024, "n_components": 800},
        {
            **SCATTERING["cifar-10"].estimator,
            "batch_size": 2000,
            "n_layers": 300,
            "step_size": {0: 0.02, 280: 0.01},
        },
        augmentation={"n_copies": 1, "mirror": True, "padding": "reflect"},
        n_views=2,
    ),
}

# The presets of encoders and classifiers, by the names that `kflow fit --preset` knows.
IMAGE_PRESETS: dict[str, dict[str, Preset]] = {"scattering": SCATTERING, "augmented": AUGMENTED}
