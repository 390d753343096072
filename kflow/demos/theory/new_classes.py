"""What is known of new classes from classes that were seen: errors from one image, shared variation."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray, Rows
from kflow.kernels import Kernel
from kflow.linear.interpolant import Interpolant, balanced_subset
from kflow.operations import one_hot

__all__ = ["N_SHARED", "one_shot_error", "shared_variation", "within_class_map"]

# The nugget of interpolants from one image of each class.
_NUGGET = 0.01

# Principal directions by which the variation of two classes is compared.
N_SHARED = 10


def one_shot_error(
    points: FloatArray,
    labels: Rows,
    test_points: FloatArray,
    test_labels: Rows,
    kernel: Kernel,
    n_draws: int,
    rng: np.random.Generator,
) -> float:
    """Return the mean error of interpolants from one point of each class, over draws of these points."""
    classes = np.unique(labels)
    errors = []
    for _ in range(n_draws):
        rows = balanced_subset(labels, len(classes), rng)
        codes = np.searchsorted(classes, labels[rows])
        interpolant = Interpolant(
            points[rows], one_hot(codes), kernel=kernel, nugget=_NUGGET, n_threads=1
        )
        found = classes[interpolant(test_points).argmax(axis=1)]
        errors.append(float((found != test_labels).mean()))
    return float(np.mean(errors))


def shared_variation(X: Doubles, y: Rows, n_directions: int = N_SHARED) -> float:
    """Return how much of what varies within a class varies along another class's directions.

    The part of a class's variance that lies in the leading principal directions of another class, over
    the part that lies in its own, averaged over all pairs.
    """
    groups = [X[y == label] - X[y == label].mean(axis=0) for label in np.unique(y)]
    bases = [np.linalg.svd(group, full_matrices=False)[2][:n_directions].T for group in groups]
    variances = np.array([[((group @ basis) ** 2).sum() for basis in bases] for group in groups])
    ratios = variances / np.diag(variances)[:, None]
    return float(ratios[~np.eye(len(groups), dtype=bool)].mean())


def within_class_map(X: Doubles, y: Rows, ridge: float) -> Doubles:
    """Return the linear map (d, d) that makes what varies within classes the same in all directions.

    With the covariance W of differences from the class means, it is (W + ridge w I)^-1/2 with the largest
    eigenvalue w: the metric of Fisher's discriminant.
    """
    means = np.array([X[y == label].mean(axis=0) for label in np.unique(y)])
    differences = X - means[np.searchsorted(np.unique(y), y)]
    variances, directions = np.linalg.eigh(differences.T @ differences / len(X))
    scaled: Doubles = directions / np.sqrt(np.maximum(variances, 0.0) + ridge * variances[-1])
    return scaled
