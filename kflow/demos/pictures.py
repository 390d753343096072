"""Images of a data set as pictures, and their classes in words."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from kflow.datasets import Dataset

__all__ = ["as_pictures", "class_names", "has_colours"]

# H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST (2017).
_CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def class_names(data: Dataset, labels: npt.NDArray[Any]) -> list[str]:
    """Return labels of images as words where there are such."""
    if data.name == "fashion-mnist":
        return [_CLOTHES[label] for label in labels]
    return [str(label) for label in labels]


def has_colours(data: Dataset) -> bool:
    """Return whether the images of a data set are in colour."""
    return len(data.image_shape or ()) > 2


def as_pictures(data: Dataset, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images of a data set that are rows of a matrix in their own shape."""
    assert data.image_shape is not None
    return X.reshape(len(X), *data.image_shape)
