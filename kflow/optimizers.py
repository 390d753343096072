"""Update rules: the name under which `kflow.learning.optimizers` is documented."""

from __future__ import annotations

from kflow.learning.optimizers import RULES, SGD, Adam, Nesterov, Rule, cosine_decay

__all__ = ["RULES", "SGD", "Adam", "Nesterov", "Rule", "cosine_decay"]
