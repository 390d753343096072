"""Learning the conductivity of -(a u')' = f from values of u, and an example of one's own kernel.

The kernels are Green's functions. For a conductivity b > 0 on [0, 1] let S(x) be the integral of
1/b from 0 to x. Then -(b u')' = f with u(0) = u(1) = 0 has the solution u(x) = int K_b(x, y) f(y) dy
with

    K_b(x, y) = S(min(x, y)) (S(1) - S(max(x, y))) / S(1),

and the conductivities are b = exp(sum_i W^c_i cos 2 pi i x + W^s_i sin 2 pi i x), i = 1, ..., n_modes.

The source of `greens_kernel` is also an example: it shows how a kernel of one's own, with derivatives,
is made of a few functions of arrays. It needs a function ``k(X, Z, **parameters)``, and it is fast
because of the chain rule in reverse: G = dLoss/dK is carried to S, and from S to the weights.
"""

from __future__ import annotations

from kflow.pde.conductivity import log_conductivity
from kflow.pde.errors import conductivity_errors, half_errors
from kflow.pde.example import example_problem
from kflow.pde.greens_function import greens_kernel, true_greens_kernel
from kflow.pde.learn import LearnedConductivity, learn_conductivity

__all__ = [
    "LearnedConductivity",
    "conductivity_errors",
    "example_problem",
    "greens_kernel",
    "half_errors",
    "learn_conductivity",
    "log_conductivity",
    "true_greens_kernel",
]
