"""What every engine must pass: tests that compare it with the slow references of `kflow.testing`.

A test of an engine derives from `EngineTests` and sets `engine`::

    class TestMyEngine(EngineTests):
        engine = get_engine("mine")

pytest collects the inherited methods. Nothing here needs pytest itself.
"""

from __future__ import annotations

from kflow.testing.engines.composite import CompositeKernelTests
from kflow.testing.engines.flows import FlowTests
from kflow.testing.engines.kernel_matrices import KernelMatrixTests
from kflow.testing.engines.layers import LayerTests
from kflow.testing.engines.losses import LossTests
from kflow.testing.engines.means import PosteriorMeansTests
from kflow.testing.engines.scattering import ScatteringTests
from kflow.testing.engines.variance import PosteriorVarianceTests

__all__ = ["EngineTests"]


class EngineTests(
    KernelMatrixTests,
    CompositeKernelTests,
    LossTests,
    LayerTests,
    FlowTests,
    PosteriorMeansTests,
    PosteriorVarianceTests,
    ScatteringTests,
):
    """Tests of an engine; derive from this class.

    Attributes
    ----------
    engine : Engine
        The engine under test.
    tolerance : float
        The largest error of a result, in units of its dtype's machine epsilon and of the largest
        entry that is expected, but of 1 at least.
    """

    def test_it_has_a_name_and_a_build(self) -> None:
        """The name and the build are strings."""
        assert isinstance(self.engine.name, str)
        assert isinstance(self.engine.build, str)

    def test_leases_can_be_nested(self) -> None:
        """A lease within a lease changes nothing."""
        with self.engine.lease(), self.engine.lease():
            pass
