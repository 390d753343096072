"""What a fit that fails leaves behind: the earlier fit, as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["restored_on_failure"]


@contextmanager
def restored_on_failure(estimator: Any, *, unless_new: str | None = None) -> Iterator[None]:
    """Give an estimator all its attributes back if what is inside the ``with`` block fails.

    Parameters
    ----------
    estimator : object
        The estimator that is fitted inside the block.
    unless_new : str, optional
        The attribute that makes a fit worth keeping: once it has been replaced, a failure leaves
        the estimator as it is then.
    """
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        after = estimator.__dict__
        if unless_new is None or after.get(unless_new) is before.get(unless_new):
            estimator.__dict__ = before
        raise
