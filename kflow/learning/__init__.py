"""Learning the parameters of a kernel by descending a loss."""

from __future__ import annotations

from kflow.learning.learn import BATCHES, OPTIMIZERS, LearnedKernel, LearningState, learn_kernel

__all__ = ["BATCHES", "OPTIMIZERS", "LearnedKernel", "LearningState", "learn_kernel"]
