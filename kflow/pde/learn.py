"""Learning of a conductivity from observed solutions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import as_matrix
from kflow.kernels import FunctionKernel
from kflow.learning import learn_kernel
from kflow.learning.run import Callback
from kflow.pde.conductivity import log_conductivity
from kflow.pde.errors import conductivity_errors
from kflow.pde.greens_function import greens_kernel
from kflow.pde.observations import Function, as_observed, evaluated

__all__ = ["LearnedConductivity", "learn_conductivity"]


@dataclass(frozen=True, eq=False, repr=False)
class LearnedConductivity(ShortRepr):
    """Result of `learn_conductivity`.

    Attributes
    ----------
    kernel : kflow.kernels.FunctionKernel
        The learned Green's function.
    nugget : float
        The learned nugget, or the given one.
    rho : float
        Mean rho of the steps from which they are.
    history : dict of ndarray
        Of each step: ``rho`` (n_steps,), ``weights`` (n_steps, 2, n_modes) and ``nugget``
        (n_steps,); with a `truth` also the `conductivity_errors`, (n_steps,) each.
    errors : dict of float
        The `conductivity_errors` of the learned b; empty without a `truth`.
    """

    kernel: FunctionKernel
    nugget: float
    rho: float
    history: dict[str, Doubles] = field(repr=False)
    errors: dict[str, float]

    def conductivity(self, x: npt.ArrayLike) -> Doubles:
        """Return the learned b at x, an array of any shape; its geometric mean is 1."""
        return np.exp(log_conductivity(x, **self.kernel.parameters))


def learn_conductivity(
    x: npt.ArrayLike,
    u: npt.ArrayLike,
    *,
    n_modes: int | None = None,
    nugget: float = 1e-2,
    learn_nugget: bool = True,
    n_steps: int = 350,
    n_halves: int = 4,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    truth: Function | None = None,
    random_state: Any = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = False,
    n_threads: int | None = None,
) -> LearnedConductivity:
    """Learn a, up to a factor, from values of u, where -(a u')' = f and u(0) = u(1) = 0.

    Nothing is known of f. The weights of a Green's function descend rho: how well half of the
    points, drawn anew in each step, interpolates all of them.

    Parameters
    ----------
    x : array_like, shape (n,)
        Where u was observed: n >= 4 distinct points strictly between 0 and 1, in any order.
    u : array_like, shape (n,) or (n, m)
        The values there, or those of m solutions for different f.
    n_modes : int, optional
        Modes of log b. None: n / 4, but 64 at most.
    nugget : float
        Added to the diagonal of K_b at the start. The nugget is a filter: it damps variations of u on
        scales below pi sqrt(nugget / n). Pass 0 for exact values that are to be interpolated.
    learn_nugget : bool
        Whether to learn the nugget too, which is needed where there is noise in u. It must be False
        if the nugget is 0.
    n_steps, n_halves, optimizer, learning_rate, callbacks, progress, n_threads
        As for `kflow.learn_kernel`, except that None for the learning rate of adam means 0.01. More
        steps are not better; see the notes.
    truth : callable, optional
        The function a, of arrays, to compare with.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the halves.

    Returns
    -------
    LearnedConductivity

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or shape, naming it.

    Notes
    -----
    A constant factor of b changes rho only through the nugget, and is not learned: the geometric mean
    of b is 1. Divide conductivities by their geometric means before they are compared.

    Where u' = 0, b has no effect on how the kernel interpolates u, and a cannot be learned there from
    one solution. Nor is rho smallest at a: any b makes u the solution for some f, and rho prefers
    small f, so that with many more steps b goes from a towards 1/|u'|. Descent learns the fast
    variations first, which belong to a, and the slow ones of 1/|u'| last. Solutions for different
    f determine a better.

    Each step costs two evaluations of the kernel and one of its derivatives, n^3/3 flops for the
    fine set, and an eighth of that for each half but the first.

    References
    ----------
    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss, J. Comp.
    Phys. 389 (2019), where log b has 64 modes, learned from W = 0 in 350 steps.

    Examples
    --------
    >>> from kflow.pde import example_problem, learn_conductivity
    >>> x, u, a = example_problem(64, random_state=0)
    >>> learned = learn_conductivity(x, u, n_steps=100, truth=a, random_state=0)
    >>> bool(learned.errors["log_error"] < 0.6 * learned.history["log_error"][0])
    True
    """
    points = as_observed(x)
    values = as_matrix(u, "u", dtype=np.float64, n_rows=len(points), column_if_1d=True)
    if not values.any():
        raise ValueError("u is zero everywhere, from which no conductivity can be learned")
    if truth is not None:
        evaluated(truth, points[:, 0])  # a mistake is found before the work, not after it
    if n_modes is None:
        n_modes = min(64, len(points) // 4)
    if learning_rate is None and optimizer == "adam":
        learning_rate = 0.01
    learned = learn_kernel(
        greens_kernel(n_modes),
        points,
        values,
        loss="rho",
        nugget=nugget,
        learn_nugget=learn_nugget,
        batch_size=len(points),
        n_halves=n_halves,
        optimizer=optimizer,
        learning_rate=learning_rate,
        n_steps=n_steps,
        random_state=random_state,
        callbacks=callbacks,
        progress=progress,
        n_threads=n_threads,
    )
    history = {
        "rho": learned.history["loss"],
        "weights": learned.history["theta"].reshape(-1, 2, n_modes),
        "nugget": learned.history["nugget"],
    }
    kernel = learned.kernel
    assert isinstance(kernel, FunctionKernel)
    errors: dict[str, float] = {}
    if truth is not None:
        history.update(conductivity_errors(history["weights"], truth, points, values))
        last = conductivity_errors(kernel.theta.reshape(2, n_modes), truth, points, values)
        errors = {name: float(error) for name, error in last.items()}
    return LearnedConductivity(kernel, learned.nugget, learned.loss, history, errors)
