"""What can be chosen: kernels, linear maps, nuggets and numbers of layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from kflow._base.arguments import as_count, as_nugget, as_number
from kflow.kernels import Gaussian, Laplacian, Radial, RationalQuadratic, from_dict
from kflow.learning.gradient_metric import MapSettings

__all__ = [
    "FAMILIES",
    "LAYERS",
    "MAPS",
    "MAX_LAYERS",
    "Candidate",
    "KernelChoice",
    "length_of",
    "nugget_of",
]

# A smooth kernel, one with heavy tails, and one that is not smooth: they differ most.
FAMILIES: Mapping[str, Callable[[float], Radial]] = {
    "gaussian": Gaussian,
    "rational_quadratic": lambda length: RationalQuadratic(length, alpha=1.0),
    "laplacian": Laplacian,
}

# In this order, so that of maps with the same error the most careful one is chosen.
MAPS = (
    MapSettings(power=0.5, diagonal=True),
    MapSettings(power=0.5),
    MapSettings(power=1.0),
    MapSettings(power=1.0, n_steps=2),
)

LAYERS = (10, 30, 100)
MAX_LAYERS = max(LAYERS)


def length_of(i: int) -> float:
    """Return a length scale of the lattice, in units of the points' spread: 1 for i = 0."""
    return float(2.0 ** (0.75 * i))


def nugget_of(j: int) -> float:
    """Return a nugget of the lattice: 1 for j = 0."""
    return float(10.0 ** (0.5 * j))


@dataclass(frozen=True)
class KernelChoice:
    """A kernel, whose length scale may be in units of the spread of the points.

    Attributes
    ----------
    kernel : Radial
        The kernel.
    relative : bool
        Whether its length scale is to be multiplied with the spread of the points it is used for.
    """

    kernel: Radial
    relative: bool

    def at(self, scale: float) -> Radial:
        """Return the kernel for points of this spread."""
        if not self.relative:
            return self.kernel
        length = self.kernel.length_scale
        assert isinstance(length, float)
        return self.kernel.with_params(length_scale=length * scale)


@dataclass(frozen=True)
class Candidate:
    """One thing that was tried.

    Attributes
    ----------
    kernel : KernelChoice
        The kernel.
    nugget : float
        Nugget of the interpolant.
    map : MapSettings or None
        The linear map of the features; None for none.
    n_layers : int
        Layers of the flow.
    error : float or None
        Mean squared error on the rows left out; None if it was not tried.
    """

    kernel: KernelChoice
    nugget: float
    map: MapSettings | None = None
    n_layers: int = 0
    error: float | None = None

    def with_layers(self, n_layers: int) -> Candidate:
        """Return the candidate with a flow, not yet tried."""
        return replace(self, n_layers=n_layers, error=None)

    @property
    def place(self) -> tuple[int, int]:
        """The place on the lattice; only that of the nugget counts if the kernel was given."""
        length = self.kernel.kernel.length_scale
        i = round(math.log2(length) / 0.75) if isinstance(length, float) else 0
        # A nugget of 0 was given, and is below all others.
        return i, round(2.0 * math.log10(max(self.nugget, 1e-300)))

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as JSON data; `from_dict` is the inverse."""
        settings = self.map
        return {
            "kernel": self.kernel.kernel.to_dict(),
            "relative": self.kernel.relative,
            "nugget": self.nugget,
            "map": None if settings is None else asdict(settings),
            "n_layers": self.n_layers,
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Candidate:
        """Return the candidate that `to_dict` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the data describe none.
        """
        kernel = from_dict(data["kernel"])
        if not isinstance(kernel, Radial) or not isinstance(data["relative"], bool):
            raise ValueError("no kernel of a flow")
        settings = data["map"]
        return cls(
            KernelChoice(kernel, data["relative"]),
            as_nugget(data["nugget"]),
            None if settings is None else MapSettings(**settings),
            as_count(data["n_layers"], "n_layers", 0),
            None if data["error"] is None else as_number(data["error"], "error"),
        )
