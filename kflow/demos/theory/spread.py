"""Mean and standard deviation over seeds, as reports write them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["percents", "spread"]


def spread(values: npt.ArrayLike, digits: str = ".2f", missing: str = "-") -> str:
    """Return mean ± standard deviation as text.

    Parameters
    ----------
    values : array_like
        Values, of which those that are not finite are left out.
    digits : str
        Format of both numbers.
    missing : str
        What is returned if no value is finite.
    """
    array = np.asarray(values, np.float64)
    seen = array[np.isfinite(array)]
    return f"{seen.mean():{digits}} ± {seen.std():{digits}}" if len(seen) else missing


def percents(values: npt.ArrayLike, digits: str = ".2f", missing: str = "-") -> str:
    """Return mean ± standard deviation of parts of a whole as text, in percent."""
    text = spread(100.0 * np.asarray(values, np.float64), digits, missing)
    return text if text == missing else f"{text} %"
