"""Losses of a kernel: how well its values on a batch explain the targets there.

Every loss is a function of K = K(X, X) + nugget I and Y, and comes with its gradient G with respect
to K: whatever the kernel's parameters are, dL = sum_ij G_ij dK_ij. K must be symmetric; which of two
equal entries is read is not specified.
"""

from __future__ import annotations

from kflow.losses.functions import (
    LOSSES,
    Loss,
    e2,
    get_loss,
    kfold,
    leave_one_out,
    loo,
    lyapunov,
    mmd,
    nlml,
    rho,
)

__all__ = [
    "LOSSES",
    "Loss",
    "e2",
    "get_loss",
    "kfold",
    "leave_one_out",
    "loo",
    "lyapunov",
    "mmd",
    "nlml",
    "rho",
]
