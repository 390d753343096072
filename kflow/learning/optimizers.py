"""Update rules on a vector of parameters: from a noisy gradient to a direction of descent.

SciPy has no stochastic rules. Libraries that have them are deep-learning frameworks with arrays of
their own, and each rule is a line or two.
"""

from __future__ import annotations

import math
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["RULES", "SGD", "Adam", "Nesterov", "Rule", "cosine_decay"]

Vector: TypeAlias = npt.NDArray[np.float64]


class Rule:
    """Base of the update rules: parameters -= rate * rule(gradient).

    A rule has a state that depends on earlier gradients: each run needs a new rule.
    """

    # The rate of the first step, in logarithms of the parameters.
    default_rate: ClassVar[float]

    def __call__(self, gradient: Vector) -> Vector:
        """Return the direction to descend in.

        Parameters
        ----------
        gradient : ndarray, shape (p,)
            Gradient of this step's loss.
        """
        raise NotImplementedError


def clipped(gradient: Vector) -> Vector:
    """Return a gradient shortened to length 1, if it is longer.

    Losses differ in scale: rho is at most 1, a likelihood grows with the batch. From R. Pascanu,
    T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013.
    """
    length = math.sqrt(float((gradient * gradient).sum()))
    return gradient / length if length > 1.0 else gradient


class SGD(Rule):
    """Gradient descent, with gradients clipped to length 1.

    References
    ----------
    H. Robbins and S. Monro, A stochastic approximation method, Ann. Math. Statist. 22 (1951).
    """

    default_rate = 1.0

    def __call__(self, gradient: Vector) -> Vector:
        """Return the clipped gradient."""
        return clipped(gradient)


class Nesterov(Rule):
    """Descent with Nesterov's momentum, and gradients clipped to length 1.

    The velocity is v = momentum v + g; the direction g + momentum v is the one after the look
    ahead, in terms of the parameters at which gradients are taken.

    Parameters
    ----------
    momentum : float
        The part of the last step that is kept, in [0, 1).

    References
    ----------
    Y. Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2),
    Soviet Math. Dokl. 27 (1983), 372-376; in this form: I. Sutskever, J. Martens, G. Dahl and
    G. Hinton, On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    default_rate = 0.1

    def __init__(self, momentum: float = 0.9) -> None:
        self._momentum = momentum
        self._velocity: Vector | float = 0.0

    def __call__(self, gradient: Vector) -> Vector:
        """Return the gradient plus momentum times the velocity."""
        g = clipped(gradient)
        self._velocity = self._momentum * self._velocity + g
        return g + self._momentum * self._velocity


class Adam(Rule):
    """The running mean of the gradient over the root of the running mean of its square.

    The entries of the direction are about 1 or less, whatever the scale of the loss, so that the rate
    is the length by which the logarithm of a parameter moves in a step.

    Parameters
    ----------
    beta1, beta2 : float
        Decay of the two means, in [0, 1).

    References
    ----------
    D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
    """

    default_rate = 0.2

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self._mean: Vector | float = 0.0
        self._square: Vector | float = 0.0
        self._steps = 0

    def __call__(self, gradient: Vector) -> Vector:
        """Return the ratio of the means, which are corrected for their start at zero."""
        beta1, beta2 = self._beta1, self._beta2
        self._steps += 1
        self._mean = beta1 * self._mean + (1.0 - beta1) * gradient
        self._square = beta2 * self._square + (1.0 - beta2) * (gradient * gradient)
        mean = self._mean / (1.0 - beta1**self._steps)
        square = self._square / (1.0 - beta2**self._steps)
        root = np.sqrt(square)
        # The paper's constant in the denominator supposes a scale that losses do not have in common.
        # Relative to the largest root, it keeps rounding errors from moving parameters that have no
        # effect.
        epsilon = 1e-8 * float(root.max(initial=0.0))
        return np.asarray(mean / (root + epsilon)) if epsilon > 0.0 else np.zeros_like(mean)


RULES: dict[str, type[Rule]] = {"adam": Adam, "sgd": SGD, "nesterov": Nesterov}


def cosine_decay(step: int, n_steps: int) -> float:
    """Return the factor of the learning rate at a step: half a cosine, from 1 down to 0.

    Parameters
    ----------
    step : int
        Number of the step, from 0 on.
    n_steps : int
        Number of steps of the run.

    References
    ----------
    I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    """
    return 0.5 * (1.0 + math.cos(math.pi * step / n_steps))
