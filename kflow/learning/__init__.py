"""Learning of kernels: losses on batches, optimizers, and `learn_kernel`."""

from __future__ import annotations

from kflow.learning.arguments import OPTIMIZERS
from kflow.learning.learn import BATCHES, learn_kernel
from kflow.learning.result import LearnedKernel
from kflow.learning.run import LearningState

__all__ = ["BATCHES", "OPTIMIZERS", "LearnedKernel", "LearningState", "learn_kernel"]
