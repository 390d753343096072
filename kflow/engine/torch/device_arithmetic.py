"""What moving points need of their device: its name, how exactly it computes, and what it has recorded."""

from __future__ import annotations

from dataclasses import dataclass

from kflow.engine.interface import Profile
from kflow.engine.torch.layers import Batches
from kflow.engine.torch.move import Mover
from kflow.engine.torch.precision import Precision
from kflow.engine.torch.repeated import Recorder, Repeated
from kflow.engine.torch.sweep import Sweeper

__all__ = ["DeviceArithmetic"]


@dataclass(frozen=True)
class DeviceArithmetic:
    """The arithmetic of the flows of an engine on a device.

    Attributes
    ----------
    device : str
        The device.
    precision : Precision
        How exactly it computes.
    record : callable or None
        What records its operations; see `kflow.engine.torch.repeated`.
    """

    device: str
    precision: Precision
    record: Recorder | None

    def repeated(self) -> Repeated:
        """Return what runs the functions of one flow."""
        return Repeated(self.record)

    def batches(self, n_fixed: int, profile: Profile, repeated: Repeated) -> Batches:
        """Return what decides layers."""
        return Batches(n_fixed, profile, self.precision, repeated)

    def mover(self, profile: Profile, repeated: Repeated) -> Mover:
        """Return what moves points."""
        return Mover(profile, self.precision.tf32, repeated)

    def sweeper(self, profile: Profile, repeated: Repeated) -> Sweeper:
        """Return what moves all points at once."""
        return Sweeper(profile, self.precision.tf32, repeated)
