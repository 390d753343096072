"""Features of images: wavelet scattering, resemblance to patches, and the coordinates of a flow that are made of it."""

from __future__ import annotations

from kflow.features.augmentation import Augmentation
from kflow.features.image_encoder import ImageEncoder
from kflow.features.patches import Patches
from kflow.features.scattering import Scattering

__all__ = ["Augmentation", "ImageEncoder", "Patches", "Scattering"]
