"""Data sets: read from files, and defined by mathematics.

Those that are read are for the command line, examples and benchmarks. Categories of points on a sphere
and of images that a formula defines are for experiments in which everything about the classes is
known.
"""

from __future__ import annotations

from kflow.datasets.images import ImageManifolds, letter_images
from kflow.datasets.load import (
    DATASETS,
    Dataset,
    load_dataset,
    load_file,
    load_image_folder,
    load_points,
)
from kflow.datasets.sphere import SphereCategories, sphere_points

__all__ = [
    "DATASETS",
    "Dataset",
    "ImageManifolds",
    "SphereCategories",
    "letter_images",
    "load_dataset",
    "load_file",
    "load_image_folder",
    "load_points",
    "sphere_points",
]
