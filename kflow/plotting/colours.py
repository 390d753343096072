"""Colours and markers of lines and classes."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb

__all__ = [
    "CLASS_COLOURS",
    "GREY",
    "MARKERS",
    "PALETTE",
    "class_style",
    "marker_area",
    "shade",
    "tint",
]

# Okabe and Ito: told apart with any colour vision. Markers help where colours are not printed.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Okabe and Ito's eight and two of Tol's, which come no closer to the eight than these to each other,
# whatever the colour vision (simulated after Machado, Oliveira and Fernandes).
CLASS_COLOURS = (*PALETTE, "#000000", "#F0E442", "#882255", "#332288")

GREY = "#666666"


def class_style(code: int) -> tuple[str, str]:
    """Return colour and marker of a class. The first 70 pairs are all different."""
    return CLASS_COLOURS[code % len(CLASS_COLOURS)], MARKERS[code % len(MARKERS)]


def shade(colour: str) -> tuple[float, float, float]:
    """Return a darker colour, for outlines."""
    red, green, blue = (0.55 * part for part in to_rgb(colour))
    return red, green, blue


def tint(colour: str, strength: float) -> tuple[float, float, float]:
    """Return a colour mixed with white; strength 1 is the colour itself, strength 0 is white."""
    red, green, blue = (1.0 - strength * (1.0 - part) for part in to_rgb(colour))
    return red, green, blue


def marker_area(n_points: int) -> float:
    """Return the area of a marker, in points squared, that suits a picture of `n_points` of them."""
    return float(np.clip(5000.0 / max(n_points, 1), 5.0, 28.0))
