"""Minimisation of a loss by L-BFGS-B, on the same batches in all steps."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from kflow.engine.threads import single_threaded_blas
from kflow.learning.batches import Batch
from kflow.learning.objective import Evaluation, Objective, Vector
from kflow.learning.run import MAX_FAILURES, Run

__all__ = ["minimize"]


class _RunEnds(Exception):
    """Leaves SciPy's minimiser."""


class _Function:
    """The loss as SciPy calls it: a value and a gradient, and a note of each iterate.

    SciPy ends where a value below 1 changes by less than about 1e-9, as the squared errors of a good
    kernel always do: it is given the loss in units of the first one.
    """

    def __init__(self, run: Run, objective: Objective, batches: list[Batch], z: Vector) -> None:
        self._run, self._objective, self._batches = run, objective, batches
        self._z, self._evaluation = z, objective(z, batches)
        value = self._evaluation.value
        self._unit = abs(value) or 1.0
        self._worst, self._n_failures = value / self._unit, 0

    def at(self, point: Vector) -> Evaluation:
        """Return the loss, which is computed once for the same point in succession."""
        if not np.array_equal(point, self._z):
            self._z = point.copy()
            self._evaluation = self._objective(self._z, self._batches)
        return self._evaluation

    def __call__(self, point: Vector) -> tuple[float, Vector]:
        """Return the scaled value and gradient."""
        value, gradient = self.at(point)[:2]
        if not math.isnan(value):
            self._worst, self._n_failures = max(self._worst, value / self._unit), 0
            return value / self._unit, gradient / self._unit
        self._n_failures += 1
        if self._n_failures == MAX_FAILURES:
            self._run.has_given_up = True
            raise _RunEnds
        # The line search takes a shorter step from a value that is worse, but not from infinity.
        return self._worst + max(1.0, abs(self._worst)), np.zeros_like(gradient)

    def note(self, point: Vector) -> None:
        """Add an iterate to the run."""
        if self._run.record(point.copy(), self.at(point)):
            raise _RunEnds


def minimize(
    run: Run, objective: Objective, start: Vector, batches: list[Batch], n_steps: int
) -> None:
    """Follow L-BFGS-B, of SciPy, on the same batches in all steps.

    Parameters
    ----------
    run : Run
        Receives the iterates, the start first.
    objective : Objective
        The loss.
    start : ndarray, shape (p,)
        Where to start.
    batches : list of Batch
        The batches.
    n_steps : int
        Largest number of iterations.
    """
    from scipy.optimize import Bounds
    from scipy.optimize import minimize as scipy_minimize

    parameters = objective.parameters
    function = _Function(run, objective, batches, start)
    first = function.at(start)
    if run.record(start, first):
        return
    if math.isnan(first.value):
        run.has_given_up = True
        return
    with suppress(_RunEnds), single_threaded_blas:
        scipy_minimize(
            function,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(parameters.lower, parameters.upper),
            callback=function.note,
            options={"maxiter": n_steps},
        )
