"""Losses of a kernel: how well its matrix on a batch explains the targets there.

Every loss is a function of K = K(X, X) + nugget I and Y, and comes with its gradient G with respect
to K: whatever the kernel's parameters are, dL = sum_ij G_ij dK_ij. K must be symmetric; which of two
equal entries is read is not specified.
"""

from __future__ import annotations

from kflow.losses import table
from kflow.losses.cross_validation import leave_one_out

# All losses, so that a new one is named in its table only.
from kflow.losses.table import *  # noqa: F403

__all__ = ["leave_one_out"]
__all__ += table.__all__
