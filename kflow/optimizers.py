"""The public name of `kflow.learning.optimizers`."""

from __future__ import annotations

from kflow.learning.optimizers import RULES, SGD, Adam, Nesterov, Rule, cosine_decay

__all__ = ["RULES", "SGD", "Adam", "Nesterov", "Rule", "cosine_decay"]
