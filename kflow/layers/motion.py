"""How points move through layers: by which engine, with which kernel, on how many threads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from kflow._base.array_types import FloatArray
from kflow.engine import get_engine
from kflow.engine.interface import Engine, Layer, Profile

__all__ = ["Motion", "RemoteMotion"]


@dataclass(frozen=True)
class Motion:
    """What is needed, besides layers, to move points.

    Attributes
    ----------
    engine : Engine
        The engine that computes.
    profile : Profile
        The kernel K_1.
    n_threads : int
        Number of threads.
    """

    engine: Engine
    profile: Profile
    n_threads: int

    def lease(self) -> AbstractContextManager[None]:
        """Keep threads ready between several moves."""
        return self.engine.lease()

    def through(self, points: FloatArray, layers: Sequence[Layer]) -> None:
        """Move points, (n, k), through layers of one shape, in place."""
        self.engine.replay(points, layers, self.profile, self.n_threads)

    def push_forward(self, points: FloatArray, layer: Layer, T: FloatArray) -> None:
        """Multiply directions by the derivative of a layer whose step is 1, in place."""
        self.engine.push_layer_forward(points, layer, self.profile, T, self.n_threads)

    def pull_back(self, points: FloatArray, layer: Layer, A: FloatArray) -> None:
        """Multiply covectors by the transposed derivative of a layer whose step is 1, in place."""
        self.engine.pull_layer_back(points, layer, self.profile, A, self.n_threads)

    def with_threads(self, n_threads: int) -> Motion:
        """Return a copy that uses another number of threads."""
        return replace(self, n_threads=n_threads)


@dataclass(frozen=True)
class RemoteMotion:
    """A motion on its way to another process, which can be read where the engine is missing.

    Attributes
    ----------
    engine : tuple
        The key of the engine; see `kflow.engine.interface.Engine.key`.
    profile : Profile
        The kernel K_1.
    """

    engine: tuple[str, str | None, str]
    profile: Profile

    @classmethod
    def of(cls, motion: Motion) -> RemoteMotion:
        """Return a motion as other processes get it."""
        return cls(motion.engine.key, motion.profile)

    def here(self, n_threads: int) -> Motion:
        """Return the motion by the engine of this process, on so many threads.

        Raises
        ------
        ImportError
            If the engine cannot run here, or this process lacks the device.
        """
        return Motion(get_engine(*self.engine), self.profile, n_threads)
