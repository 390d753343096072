"""Targets of a data set: class labels or numbers, and which rows are held out for the test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST_EXACT", "Targets", "Task", "as_targets", "held_out_rows", "whole_numbers"]

Task = Literal["classification", "regression"]

# From here on not every whole number is one of float64.
LARGEST_EXACT = 2.0**53

_MOST_CHARACTERS = 1000


@dataclass(frozen=True, eq=False)
class Targets:
    """What is to be predicted.

    Attributes
    ----------
    values : ndarray, shape (N,)
        Class labels in their own dtype, or numbers (float64) for regression.
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
        Text, also as objects, booleans or numbers. Text that holds nothing but numbers counts as numbers: as int64 or
        uint64 if all are whole numbers, of which no digit is lost.
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
    if values.dtype.kind == "O":
        values = _short_texts(values, source)
    if values.dtype.kind in "SU":
        values = values.astype(str)
        if (values == "").any():
            raise ValueError(f"{source}: the target of row {np.argmax(values == '') + 1} is empty")
        try:
            values = _numbers_of(values)
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
    if not np.isfinite(values.astype(np.float64)).all():
        raise ValueError(f"{source}: the targets contain NaN or infinity: remove those rows")
    return _of_numbers(values, task)


def _short_texts(values: npt.NDArray[Any], source: str) -> npt.NDArray[np.str_]:
    """Return texts in an array of their own, in which each takes as much room as the longest."""
    texts = [str(value) for value in values]
    longest = max(map(len, texts), default=0)
    if longest > _MOST_CHARACTERS:
        raise ValueError(
            f"{source}: a target has {longest} characters, which is no label of a class: those have at "
            f"most {_MOST_CHARACTERS}"
        )
    return np.array(texts, dtype=str)


def _numbers_of(texts: npt.NDArray[np.str_]) -> npt.NDArray[Any]:
    """Return the numbers that texts hold, or raise ValueError."""
    try:
        numbers = [int(text) for text in texts.tolist()]
    except ValueError:  # not all are whole
        return whole_numbers(texts.astype(np.float64))
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= min(numbers) and max(numbers) <= np.iinfo(dtype).max:
            return np.array(numbers, dtype)
    return texts.astype(np.float64)


def whole_numbers(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers as int64 if all of them are whole, and small enough to be exact in float64."""
    exact = np.abs(values) < LARGEST_EXACT
    return values.astype(np.int64) if (exact & (values == np.rint(values))).all() else values


def _of_numbers(numbers: npt.NDArray[Any], task: Task | None) -> Targets:
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
        return Targets(numbers.astype(np.float64), task, reason)
    return Targets(numbers, task, reason)


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
