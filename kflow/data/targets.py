"""Targets of a data set: class labels or numbers, and which rows are held out for the test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Targets", "Task", "as_targets", "held_out_rows"]

Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False)
class Targets:
    """What is to be predicted.

    Attributes
    ----------
    values : ndarray, shape (N,)
        Class labels (text, booleans, int64 or float64), or numbers (float64) for regression.
    task : "classification" or "regression"
        Which of the two they are.
    reason : str
        Why, as the end of a sentence.
    """

    values: npt.NDArray[Any]
    task: Task
    reason: str


def as_targets(values: npt.NDArray[Any], task: Task | None, source: str) -> Targets:
    """Return targets as class labels or numbers.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Text, booleans or numbers. Text that holds nothing but numbers counts as numbers.
    task : "classification" or "regression", optional
        If not given: text, booleans and at most sqrt(N) distinct whole numbers are classes, anything
        else is regression.
    source : str
        Where they come from, for errors.

    Raises
    ------
    ValueError
        If targets are missing, infinite, or of a kind that does not suit the task.
    """
    if values.dtype.kind in "SU":
        values = values.astype(str)
        if (values == "").any():
            raise ValueError(f"{source}: the target of row {np.argmax(values == '') + 1} is empty")
        try:
            values = values.astype(np.float64)
        except ValueError:
            if task == "regression":
                raise ValueError(
                    f"{source}: the targets are text: regression needs numbers"
                ) from None
            return Targets(values, "classification", "because the targets are text")
    if values.dtype.kind == "b" and task != "regression":
        return Targets(values, "classification", "because the targets are true or false")
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{source}: the targets must be numbers or text, got {values.dtype}")
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{source}: the targets contain NaN or infinity: remove those rows")
    return _of_numbers(numbers, task)


def _of_numbers(numbers: npt.NDArray[np.float64], task: Task | None) -> Targets:
    whole = bool((numbers == np.rint(numbers)).all())
    reason = "as asked for"
    if task is None:
        n = len(np.unique(numbers))
        few = n <= math.sqrt(len(numbers))
        task = "classification" if whole and few else "regression"
        if not whole:
            reason = "because the targets are numbers with digits after the point"
        elif few:
            reason = f"because the targets are whole numbers, and only {n} different ones"
        else:
            reason = f"because the targets are {n} different whole numbers"
    if task == "regression":
        return Targets(numbers, task, reason)
    return Targets(numbers.astype(np.int64) if whole else numbers, task, reason)


def held_out_rows(y: npt.NDArray[Any], task: Task, source: str) -> npt.NDArray[np.bool_]:
    """Choose every fourth row (of each class), in a random order that is always the same.

    Parameters
    ----------
    y : ndarray, shape (N,)
        Targets.
    task : "classification" or "regression"
        Whether they are classes.
    source : str
        Where they come from, for errors.

    Returns
    -------
    ndarray of bool, shape (N,)
        True for the rows that are held out.

    Raises
    ------
    ValueError
        If there are too few rows.
    """
    order = np.random.default_rng(0).permutation(len(y))
    groups = [order]
    if task == "classification":
        groups = [order[y[order] == label] for label in np.unique(y)]
    held = np.zeros(len(y), bool)
    held[np.concatenate([group[3::4] for group in groups])] = True
    if not held.any():
        raise ValueError(
            f"{source}: too few rows ({len(y)}) to hold any out for the test: add rows, or X_test "
            "and y_test to a .npz file"
        )
    return held
