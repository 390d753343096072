"""The posteriors of an emulator's components in model files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow.emulator.posterior import Posterior
from kflow.errors import damaged
from kflow.kernels import from_dict
from kflow.storage.model_file import ModelReader

__all__ = ["posterior_arrays", "read_posteriors"]


def posterior_arrays(posteriors: Sequence[Posterior]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the arrays of a model file, by name; `read_posteriors` is the inverse.

    All components have the same points. Of the factors only the lower triangles are stored.
    """
    if not posteriors:
        return
    yield "points", posteriors[0].points
    yield "coefficients", np.stack([one.coefficients for one in posteriors])
    yield "nuggets", np.array([one.nugget for one in posteriors])
    yield "amplitudes", np.array([one.amplitude for one in posteriors])
    for number, one in enumerate(posteriors):
        if one.noise_factor is not None:
            yield f"noise_factor_{number}", _packed(one.noise_factor)


def read_posteriors(
    reader: ModelReader, kernels: Sequence[Any], n_components: int, n_coordinates: int
) -> list[Posterior]:
    """Return the posteriors that a model file holds.

    Parameters
    ----------
    reader : ModelReader
        The file, open.
    kernels : sequence of dict
        The kernels, as `Kernel.to_dict` described them.
    n_components, n_coordinates : int
        Number of components, and of scaled inputs.

    Raises
    ------
    ModelFileError
        If the arrays are damaged or do not fit each other.
    """
    with damaged("posteriors"):
        if len(kernels) != n_components:
            raise ValueError(f"there are {len(kernels)} kernels of {n_components} components")
        if n_components == 0:
            return []
        points = _checked(reader.array("points", ndim=2))
        shapes = {
            "coefficients": (n_components, len(points)),
            "nuggets": (n_components,),
            "amplitudes": (n_components,),
        }
        arrays = {name: _checked(reader.array(name)) for name in shapes}
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, not {shape}")
        if points.shape[1] != n_coordinates or not len(points):
            raise ValueError(f"points has shape {points.shape}")
        if not min(arrays["nuggets"].min(), arrays["amplitudes"].min()) > 0.0:
            raise ValueError("a nugget or an amplitude is not positive")
        posteriors = []
        for number, described in enumerate(kernels):
            kernel = from_dict(described)
            kernel.check_dimension(n_coordinates)
            factor = None
            if f"noise_factor_{number}" in reader:
                numbers = _checked(reader.array(f"noise_factor_{number}", ndim=1))
                factor = _unpacked(numbers, len(points))
            posteriors.append(
                Posterior(
                    kernel,
                    float(arrays["nuggets"][number]),
                    points,
                    arrays["coefficients"][number],
                    float(arrays["amplitudes"][number]),
                    factor,
                )
            )
        return posteriors


def _checked(array: npt.NDArray[Any]) -> Doubles:
    """Return an array of a file, whose numbers must be finite doubles."""
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError("numbers must be finite and of float64")
    return np.ascontiguousarray(array)


def _packed(factor: Doubles) -> Doubles:
    """Return the lower triangle of a factor (M, M), row by row."""
    return np.asarray(factor[np.tril_indices(len(factor))])


def _unpacked(numbers: Doubles, size: int) -> Doubles:
    """Return the factor of which `_packed` returned the lower triangle.

    Raises
    ------
    ValueError
        If there are not as many numbers, or a pivot is not positive.
    """
    if len(numbers) != size * (size + 1) // 2:
        raise ValueError(f"{len(numbers)} numbers are no triangle of {size} rows")
    factor = np.zeros((size, size), order="F")
    factor[np.tril_indices(size)] = numbers
    if not (factor.diagonal() > 0.0).all():
        raise ValueError("a factor has a pivot that is not positive")
    return factor
