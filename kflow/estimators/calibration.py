"""Probabilities of classes from the values of an interpolant of one-hot labels."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray

__all__ = ["softmax", "temperature_of"]

# Limits of the temperature: one-hot values differ by about 1, so that with the least one the second
# best class of a clear case gets e^-100, and with the largest one all classes are alike.
_LEAST, _LARGEST = 0.01, 100.0


def softmax(scores: FloatArray, temperature: float) -> Doubles:
    """Return exp(score / temperature) divided by its sum over the classes.

    Parameters
    ----------
    scores : ndarray, shape (n, n_classes)
        Values of the interpolant.
    temperature : float
        Positive; the larger, the more alike the probabilities.

    Returns
    -------
    ndarray of float64, shape (n, n_classes)
        Rows whose sum is 1.
    """
    logits = scores.astype(np.float64) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Doubles = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def temperature_of(scores: Doubles, one_hot: Doubles, weights: Doubles | None = None) -> float:
    """Return the temperature with which probabilities have the least log loss.

    Parameters
    ----------
    scores : ndarray, shape (n, n_classes)
        Values predicted for rows that were not learned from.
    one_hot : ndarray, shape (n, n_classes)
        Their classes.
    weights : ndarray, shape (n,), optional
        Weights of the rows.

    Returns
    -------
    float
        Between 0.01 and 100. The classes are smoothed as if each had been seen once more, so that
        rows without a single error do not promise that there never will be one.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On calibration of modern neural networks, ICML
    2017: temperature scaling. J. Platt, Probabilistic outputs for support vector machines (1999): the
    smoothing.
    """
    from scipy.optimize import minimize_scalar

    n, n_classes = scores.shape
    w = np.ones(n) if weights is None else weights
    smooth = n_classes / (w.sum() + n_classes)
    wanted = w[:, None] * ((1.0 - smooth) * one_hot + smooth / n_classes)
    centred = scores - scores.max(axis=1, keepdims=True)

    def log_loss(log_temperature: float) -> float:
        logits = centred * np.exp(-log_temperature)
        log_sums = np.log(np.exp(logits).sum(axis=1))
        return float((w * log_sums).sum() - (wanted * logits).sum())

    limits = (np.log(_LEAST), np.log(_LARGEST))
    # The log loss is convex in 1 / temperature, and so has one minimum in the logarithm, too.
    found = minimize_scalar(log_loss, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
