"""Warnings that point at the user's own line, however deep in kflow they arise."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

__all__ = ["warn_user"]

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def warn_user(message: str, category: type[Warning]) -> None:
    """Issue a warning at the line outside kflow from which kflow was called.

    Parameters
    ----------
    message : str
        What is the matter, and the remedy.
    category : type
        The class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
