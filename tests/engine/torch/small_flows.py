"""Flows and batches that are small, for tests of what a device does with them."""

from __future__ import annotations

import numpy as np

import kflow
from kflow.engine.interface import FlowBatch
from kflow.kernels import Gaussian

SETTINGS = {
    "batch_size": 60,
    "nugget": 0.1,
    "step": "rms",
    "step_size": 0.02,
    "random_state": 0,
    "device": "cpu",
}


def small_flow(kernel=None, **options):
    """A flow of PyTorch's processor device, unless another is named."""
    return kflow.KernelFlow(kernel or Gaussian(3.0), **{**SETTINGS, **options})


def small_batch(n, seed):
    """Forty of n points, of which twenty are coarse."""
    rng = np.random.default_rng(seed)
    return FlowBatch(rng.choice(n, 40, replace=False), np.empty((0, 20), np.intp), 20)
