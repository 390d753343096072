"""The differential equation that the flow of random layers becomes as its steps shrink."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import cho_factor, cho_solve

from kflow import losses
from kflow._base.array_types import Doubles
from kflow.kernels import Radial

__all__ = ["MeanFlow"]


@dataclass(frozen=True, eq=False)
class MeanFlow:
    """The differential equation of all points, with the expectation over all halves.

    dF/dt = -K(F, F) (K(F, F) + nugget I)^-1 E[d rho / d F], N_f = N.

    Attributes
    ----------
    X : ndarray, shape (N, d)
        Points at the start. N is even and small, because there are N! / (N/2)!^2 halves.
    y : ndarray, shape (N,)
        Targets.
    kernel : kflow.kernels.Radial
        The kernel K.
    nugget : float
        Nugget of the interpolation.
    """

    X: Doubles
    y: Doubles
    kernel: Radial
    nugget: float

    def velocity(self, Z: Doubles) -> Doubles:
        """Return dF/dt at F = Z, (N, d): the mean over all halves."""
        n = len(Z)
        halves = np.array(list(combinations(range(n), n // 2)), dtype=np.intp)
        K = self.kernel(Z)
        A = K + self.nugget * np.eye(n)
        G = losses.rho(A, self.y, halves)[1]
        assert G is not None
        gradient = self.kernel.contract(Z, G, points=True)[1]
        assert gradient is not None
        velocity: Doubles = -(K @ cho_solve(cho_factor(A), gradient))
        return velocity

    def solution(self, t: float) -> Doubles:
        """Return F(t), (N, d), to about ten digits."""
        solved = solve_ivp(
            lambda _, flat: self.velocity(flat.reshape(self.X.shape)).ravel(),
            (0.0, t),
            self.X.ravel(),
            method="DOP853",
            rtol=1e-10,
            atol=1e-12,
        )
        return np.asarray(solved.y[:, -1]).reshape(self.X.shape)

    def euler(self, t: float, n_steps: int) -> Doubles:
        """Return the points (N, d) after n_steps layers that each average over all halves."""
        Z = self.X
        for _ in range(n_steps):
            Z = Z + t / n_steps * self.velocity(Z)
        return Z
