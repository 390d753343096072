"""The data that a flow or an estimator is given: arrays, sources, classes, scaling."""

from __future__ import annotations
