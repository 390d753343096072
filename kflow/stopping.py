"""Early stopping of a flow for classes: the rows held out, and the callback that ends the flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_nugget, as_number, shown
from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_state, set_generator_state
from kflow._base.short_repr import ShortRepr
from kflow.engine.device_array import to_host
from kflow.engine.threads import resolve_n_threads
from kflow.evaluation.curves import check_every, errors_from_state, errors_to_state
from kflow.evaluation.errors import N_INTERPOLATION, average_error
from kflow.flow.kernel_flow import KernelFlow

__all__ = ["CollapseStopping", "hold_out"]

# The largest default of `tolerance`. If few rows are held out, the standard error is large, and
# errors that differ by that much do not show that the classes have collapsed.
_MAX_TOLERANCE = 0.01


def hold_out(
    labels: npt.NDArray[Any], validation_fraction: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Divide rows into those for the flow and those held out: the same part of every class.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        The class of each point.
    validation_fraction : float
        Part of each class that is held out, in (0, 1); at least one row is held out.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    kept, held : ndarray of int
        The rows for the flow and those held out, each in ascending order.

    Raises
    ------
    TypeError
        If `validation_fraction` is not a number.
    ValueError
        If `validation_fraction` is outside (0, 1), or a class would keep fewer than two rows. (With
        one row of each class, the largest number of interpolation points would also be the
        smallest.)
    """
    fraction = as_number(validation_fraction, "validation_fraction")
    if not 0.0 < fraction < 1.0:
        raise ValueError(
            f"validation_fraction must lie between 0 and 1, both excluded, got {fraction!r}"
        )
    held = []
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        n_held = max(1, round(fraction * int(count)))
        if count - n_held < 2:
            raise ValueError(
                f"early_stopping with validation_fraction={fraction:g} holds out {n_held} of the "
                f"{count} rows of class {shown(label)}, and the flow needs at least two: pass more rows "
                "of that class, a smaller validation_fraction, or early_stopping=False"
            )
        held.append(rng.choice(np.flatnonzero(labels == label), n_held, replace=False))
    is_held = np.zeros(len(labels), dtype=bool)
    is_held[np.concatenate(held)] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


class CollapseStopping(ShortRepr):
    """Callback that ends a flow when one interpolation point per class does as well as thousands.

    The classes have then collapsed, and further layers only move points that lie together. A
    callback belongs to one flow and ends it once: `kflow.KernelFlow.run` may add layers later.

    Parameters
    ----------
    labels, validation_labels : ndarray
        Classes of the training points, at least two points of each, and classes of the points that
        the flow follows under the name `follow`.
    nugget : float
        Nugget of the interpolants.
    every : int
        Layers from one evaluation to the next; the first layer is evaluated too.
    rng : numpy.random.Generator
        Draws the interpolation points.
    tolerance : float, optional
        How much larger the mean error from one point per class may be, as a part of the followed
        points. None: one binomial standard error of the error e from the most points, but at most
        0.01; n followed points cannot tell errors apart that are closer. The standard error is
        sqrt(p (1 - p) / n) with p = (n e + 1) / (n + 2), which is Laplace's rule of succession:
        even if none of the n points is wrong, the error is not taken to be exactly 0.
    n_interpolation : int
        The most interpolation points. If the classes have too few points for it, the largest number
        that they allow is taken. m points cost m^3 / 3 flops in an evaluation.
    n_draws : int
        Number of interpolants from one point per class. There is only one interpolant from the most
        points, as its error depends little on the draw.
    confirmations : int
        Number of successive evaluations that must find that the classes have collapsed.
    follow : str
        Name of the followed points.

    Attributes
    ----------
    layers : list of int
        The numbers of layers after which the errors were evaluated.
    errors : dict of list of float
        Maps the largest and the smallest number of interpolation points to the mean errors, one for
        each of `layers`; NaN where the kernel matrix was singular.
    stopped_at : int or None
        Number of layers after which the callback ended the flow.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or values, naming them.

    Notes
    -----
    If both errors are equally bad, their agreement says nothing about the classes. The error from
    the most points must therefore be lower than that of a guess, 1 - 1 / n_classes, by two standard
    errors. If there are two classes and one row of each is held out, for instance, the flow is
    never ended; nor is it ended by a singular kernel matrix.

    The error itself may still fall a little after the classes have collapsed.
    """

    def __init__(
        self,
        labels: npt.NDArray[Any],
        validation_labels: npt.NDArray[Any],
        *,
        nugget: float,
        every: int,
        rng: np.random.Generator,
        tolerance: float | None = None,
        n_interpolation: int = N_INTERPOLATION[0],
        n_draws: int = 5,
        confirmations: int = 2,
        follow: str = "validation",
    ) -> None:
        self._labels = np.array(labels)
        self._validation_labels = np.array(validation_labels)
        counts = np.unique(self._labels, return_counts=True)[1]
        if len(counts) < 2 or counts.min() < 2:
            raise ValueError("labels must hold two classes or more, with at least two points each")
        if len(self._validation_labels) == 0:
            raise ValueError("validation_labels is empty: hold out at least one point")
        self._smallest = len(counts)
        most = as_count(n_interpolation, "n_interpolation", 2 * self._smallest)
        self._largest = min(most, self._smallest * int(counts.min()))
        self._nugget = as_nugget(nugget)
        self._every = as_count(every, "every", 1)
        self._rng = rng
        self._tolerance = None if tolerance is None else as_number(tolerance, "tolerance")
        self._n_draws = as_count(n_draws, "n_draws", 1)
        self._confirmations = as_count(confirmations, "confirmations", 1)
        self._follow = follow
        self._n_agreed = 0
        self.layers: list[int] = []
        self.errors: dict[int, list[float]] = {self._largest: [], self._smallest: []}
        self.stopped_at: int | None = None

    def __call__(self, flow: KernelFlow) -> bool:
        """Evaluate the errors if they are due, and return whether the flow should end."""
        n_layers = flow.n_layers_
        if self.stopped_at is not None or (n_layers != 1 and n_layers % self._every != 0):
            return False
        largest, smallest = self.evaluate(flow)
        self.layers.append(n_layers)
        self.errors[self._largest].append(largest)
        self.errors[self._smallest].append(smallest)
        self._n_agreed = self._n_agreed + 1 if self._have_met(largest, smallest) else 0
        if self._n_agreed < self._confirmations:
            return False
        self.stopped_at = n_layers
        return True

    def evaluate(self, flow: KernelFlow) -> tuple[float, float]:
        """Return the mean errors from the most points and from one point per class.

        An error is NaN where the kernel matrix is singular.

        Raises
        ------
        ValueError
            If the numbers of points in the flow differ from the numbers of labels.
        """
        points, followed = self._positions(flow)
        largest, smallest = (
            average_error(
                flow,
                points,
                self._labels,
                followed,
                self._validation_labels,
                nugget=self._nugget,
                rng=self._rng,
                n_interpolation=size,
                n_draws=n_draws,
            )
            for size, n_draws in ((self._largest, 1), (self._smallest, self._n_draws))
        )
        return largest, smallest

    def to_state(self) -> dict[str, Any]:
        """Return what the callback has seen, and what it needs to go on, as JSON data."""
        return {
            "every": self._every,
            "layers": self.layers,
            "errors": errors_to_state(self.errors),
            "n_agreed": self._n_agreed,
            "stopped_at": self.stopped_at,
            "generator": generator_state(self._rng),
        }

    def from_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `to_state` returned, and go on from there.

        Raises
        ------
        ValueError
            If `every` or the numbers of interpolation points were different.
        """
        check_every(self._every, state["every"])
        self.errors = errors_from_state(state["errors"], self.errors)
        self.layers = list(state["layers"])
        self._n_agreed = int(state["n_agreed"])
        self.stopped_at = state["stopped_at"]
        set_generator_state(self._rng, state["generator"])

    def _positions(self, flow: KernelFlow) -> tuple[FloatArray, FloatArray]:
        """Return the current positions of the training points and of the points held out."""
        state = flow.state_
        threads = resolve_n_threads(flow.n_threads)
        # Wherever the points are, the few of which interpolants are made are compared on the host.
        points = np.concatenate(
            [to_host(part) for part in state.training_points(threads, reduced=True)]
        )
        followed = flow.positions().followed.get(self._follow)
        if followed is None or len(followed) != len(self._validation_labels):
            raise ValueError(
                f"the flow must follow the {len(self._validation_labels)} points of "
                f"validation_labels: pass fit(..., follow={{{self._follow!r}: ...}})"
            )
        if len(points) != len(self._labels):
            raise ValueError(f"labels has {len(self._labels)} rows, the flow {len(points)} points")
        return points, followed

    def _have_met(self, largest: float, smallest: float) -> bool:
        """Return whether the errors agree and are better than a guess; False if one is NaN."""
        n = len(self._validation_labels)
        p = (n * largest + 1.0) / (n + 2.0)
        standard_error = math.sqrt(p * (1.0 - p) / n)
        tolerance = self._tolerance
        if tolerance is None:
            tolerance = min(standard_error, _MAX_TOLERANCE)
        guess = 1.0 - 1.0 / self._smallest
        return smallest <= largest + tolerance and largest + 2.0 * standard_error < guess
