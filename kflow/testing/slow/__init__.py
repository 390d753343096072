"""The engine once more, slow and obvious, in NumPy: what the tests and benchmarks compare with.

Everything follows the definitions, with explicit solves, and shares nothing with the compiled core
but the descriptions of the kernels. Computed in float64, or in longdouble where an argument is.
Formulas: H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
J. Comp. Phys. 389 (2019), 22-47; the kernels as in `kflow.kernels`.
"""

from __future__ import annotations

from kflow.testing.slow.flows import (
    FlowResult,
    LayerResult,
    directions_needed,
    draw,
    flow,
    layer,
    subspace,
)
from kflow.testing.slow.kernels import gram, kernel_slope, kernel_value
from kflow.testing.slow.linear import solve
from kflow.testing.slow.losses import (
    SLOW_LOSSES,
    leave_one_out,
    loss_e2,
    loss_kfold,
    loss_lyapunov,
    loss_mmd,
    loss_nlml,
    loss_rho,
    symmetric_gradient,
)
from kflow.testing.slow.means import posterior_means
from kflow.testing.slow.points import class_distance_ratio, move, rho, rho_gradient, step_length
from kflow.testing.slow.scattering import scattering
from kflow.testing.slow.variance import posterior_variance

__all__ = [
    "SLOW_LOSSES",
    "FlowResult",
    "LayerResult",
    "class_distance_ratio",
    "directions_needed",
    "draw",
    "flow",
    "gram",
    "kernel_slope",
    "kernel_value",
    "layer",
    "leave_one_out",
    "loss_e2",
    "loss_kfold",
    "loss_lyapunov",
    "loss_mmd",
    "loss_nlml",
    "loss_rho",
    "move",
    "posterior_means",
    "posterior_variance",
    "rho",
    "rho_gradient",
    "scattering",
    "solve",
    "step_length",
    "subspace",
    "symmetric_gradient",
]
