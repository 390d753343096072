"""What the tests compare with: the engine once more, slow and obvious, and suites of tests.

The functions follow the definitions, with explicit solves, and share nothing with the compiled core.
They compute in float64, or in longdouble where an argument is. Formulas: H. Owhadi and G. R. Yoo,
Kernel Flows: from learning kernels from data into the abyss, J. Comp. Phys. 389 (2019), 22-47; the
kernels as in `kflow.kernels`.

`EngineTests`, `PlaceTests`, `StoreTests`, `KernelTests` and `LossTests` hold what every engine, place for
points, store of layers, kernel and loss must pass, one's own included: pytest collects a class that
inherits from one of them and whose name begins with Test.
"""

from __future__ import annotations

from kflow.testing import slow
from kflow.testing.engines import EngineTests
from kflow.testing.kernel_tests import KernelTests
from kflow.testing.loss_tests import LossTests
from kflow.testing.places import MemoryPlace, PlaceTests

# All slow references, so that they are named in one file only.
from kflow.testing.slow import *  # noqa: F403
from kflow.testing.stores import StoreTests

__all__ = ["EngineTests", "KernelTests", "LossTests", "MemoryPlace", "PlaceTests", "StoreTests"]
__all__ += slow.__all__
