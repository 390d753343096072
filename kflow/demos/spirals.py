"""The Swiss roll cheesecake: its points, two interleaved spirals, and the settings of its flows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kflow import KernelFlow
from kflow._base.array_types import Doubles
from kflow.demos import Options
from kflow.kernels import Gaussian

__all__ = ["LENGTH_SCALE", "SpiralFlow", "spiral_flows", "spirals"]


# Length scale of the Gaussian kernel of these flows.
LENGTH_SCALE = 0.3


def spirals(n: int) -> tuple[Doubles, Doubles]:
    """Return n points on two interleaved spirals and their labels.

    Parameters
    ----------
    n : int
        Number of points. Every other point is on the same spiral.

    Returns
    -------
    X : ndarray, shape (n, 2)
        Points in the unit disc.
    y : ndarray, shape (n,)
        1 on one spiral and -1 on the other, which is the first one turned by half a turn.
    """
    arm = np.arange(n) % 2
    angle = np.linspace(1.0, 3.0 * np.pi, n)
    radius, turn = angle / (3.0 * np.pi), angle + np.pi * arm
    X = np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])
    return X, np.where(arm == 0, 1.0, -1.0)


@dataclass(frozen=True)
class SpiralFlow:
    """The settings of one flow of the spirals, and the n at which it is shown.

    Attributes
    ----------
    name : str
        Its name in the report.
    nugget, step, step_size : float, str and float
        As in `kflow.KernelFlow`.
    layers : tuple of int
        The n, of which the last is the number of layers.
    """

    name: str
    nugget: float
    step: str
    step_size: float
    layers: tuple[int, ...]

    def flow(self, X: Doubles, y: Doubles, options: Options) -> KernelFlow:
        """Return the flow, fitted to points and their labels."""
        return KernelFlow(
            Gaussian(LENGTH_SCALE),
            n_layers=self.layers[-1],
            batch_size=len(X),
            nugget=self.nugget,
            step=self.step,
            step_size=self.step_size,
            dtype="float64",
            random_state=options.seed,
            n_threads=options.n_threads,
        ).fit(X, y)

    def words(self) -> str:
        """Return the settings as a report tells them."""
        return (
            f"nugget {self.nugget:g}, step {self.step} {self.step_size:g}, {self.layers[-1]} layers"
        )


def spiral_flows(quick: bool) -> tuple[SpiralFlow, SpiralFlow, SpiralFlow]:
    """Return the settings of the flows with small steps, with large steps and with a small nugget."""
    small = 0.01 if quick else 0.002
    layers = (0, 500, 1000) if quick else (0, 700, 1400, 2000, 3500, 6000)
    large = 0.1 if quick else 0.2
    few_layers = (0, 150, 400) if quick else (0, 60, 120, 200, 400, 800)
    three = (0, layers[len(layers) // 2], layers[-1])
    return (
        SpiralFlow("small steps", 1.0, "rms", small, layers),
        SpiralFlow("large steps", 1.0, "relative", large, few_layers),
        SpiralFlow("small nugget", 0.01, "rms", 2.5 * small, three),
    )
