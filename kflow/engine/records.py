"""What goes into an engine and comes out of it besides arrays: descriptions, results and errors.

Arrays are NumPy arrays; `kflow.engine.interface` has the rules for them, and the notation.
"""

from __future__ import annotations

from typing import NamedTuple

from kflow._base.array_types import FloatArray, Rows

__all__ = [
    "PRECISIONS",
    "Diverged",
    "FlowBatch",
    "Layer",
    "LayerOptions",
    "LayerReport",
    "NotPositiveDefinite",
    "Profile",
    "Term",
]


# How exactly an engine that knows devices computes there. "float64": the algebra of a batch in float64,
# and points move in their own precision. "mixed": the batch's matrices are factorised in float32, and
# solutions refined to float64. "tf32": points of float32 move by products whose factors have 10 bits
# after the point.
PRECISIONS = ("float64", "mixed", "tf32", "mixed+tf32")


class NotPositiveDefinite(Exception):
    """A kernel matrix could not be factorised.

    Its arguments are two integers: the rows, in that kernel matrix, of two points that coincide, or -1
    and -1 if no two are found that do.
    """


class Diverged(Exception):
    """A layer would move points to where they are not finite, or unreasonably far.

    Its argument is a string that says why.
    """


class Profile(NamedTuple):
    """A function k(t) of one number for each pair of points x, z: t = |x - z|^2, or t = x.z.

    Attributes
    ----------
    family : str
        The name of the formula: "gaussian", "laplacian", "matern32", "matern52", "rational_quadratic",
        "inverse_multiquadric", "cauchy" and "wendland" read |x - z|^2, and "polynomial" reads x.z. The
        formulas are those of the classes in `kflow.kernels`. A profile of distances is 1 at t = 0.
    length_scale : float
        Positive; all formulas are functions of t / length_scale^2.
    alpha : float
        Positive: the exponent of "rational_quadratic", and what "polynomial" adds to
        t / length_scale^2. Other families do not read it.
    degree : int
        At least 1: the exponent of "polynomial", and that of (1 - r / length_scale) in "wendland".
        Other families do not read it.
    """

    family: str
    length_scale: float
    alpha: float = 1.0
    degree: int = 1


class Term(NamedTuple):
    """One step in the computation of a composite kernel.

    A composite kernel is a sequence of terms. Each refers to earlier terms by their positions in that
    sequence, each term is used by at most one later term, and the value of the last one is the kernel.

    Attributes
    ----------
    operation : {"leaf", "constant", "given", "sum", "product"}
        How the value comes about: a profile of two points' features, 1, an entry of a matrix that the
        caller supplies, or the sum or product of two earlier terms.
    factor : float
        A number by which that is multiplied.
    profile : Profile or None
        The profile of a leaf, else None.
    source : int
        Which features a leaf reads, or which given matrix; else -1.
    left, right : int
        Positions of the two terms that are added or multiplied; else -1.
    """

    operation: str
    factor: float = 1.0
    profile: Profile | None = None
    source: int = -1
    left: int = -1
    right: int = -1


class Layer(NamedTuple):
    """What a layer does to any point x: x[:q] += step K(x, centres) coefficients.

    Attributes
    ----------
    centres : ndarray of real, shape (m, k)
        Z, the positions of the m points of the batch before the layer, in the order of its rows.
    coefficients : ndarray of real, shape (m, q)
        C, with a column for each coordinate that moves; 1 <= q <= k.
    step : float
        How far the layer moves. It is not multiplied into C, so that a replay does the very
        arithmetic of the run.
    """

    centres: FloatArray
    coefficients: FloatArray
    step: float


class FlowBatch(NamedTuple):
    """The random part of a layer.

    Attributes
    ----------
    rows : ndarray of intp, shape (m,)
        Different training points. The first `n_coarse` of them are the first coarse subset.
    halves : ndarray of intp, shape (n_halves - 1, n_coarse)
        Further coarse subsets, as positions in `rows`, without repetition in a row. There may be none.
    n_coarse : int
        The size of every coarse subset, from 1 to m - 1.
    """

    rows: Rows
    halves: Rows
    n_coarse: int


class LayerOptions(NamedTuple):
    """How one layer descends; see `kflow.KernelFlow` for the formulas.

    Attributes
    ----------
    nugget : float
        A number that is added to the diagonal of the batch's kernel matrix; it may be 0.
    step : {"relative", "rms", "absolute", "fixed"}
        The step rule.
    step_size : float
        The parameter p of the rule.
    gradient_cap : float
        Rows of the gradient that are longer than this many medians of the rows' lengths are scaled down
        to that length. The median of m lengths is the one at position m // 2 after sorting. Infinity
        leaves all rows as they are.
    over_batch : bool
        Whether the rule measures points and displacements of the batch only, instead of those of all
        training points.
    """

    nugget: float
    step: str
    step_size: float
    gradient_cap: float
    over_batch: bool


class LayerReport(NamedTuple):
    """What is measured in a layer.

    Attributes
    ----------
    rho : float
        The loss of the batch before the layer, averaged over its coarse subsets.
    step : float
        The step that the rule gave; that of the `Layer`.
    class_distance_ratio : float
        The mean squared distance between two points of the batch that are of one class, divided by that
        between two of different classes, before the layer. It is NaN if there are no labels.
    """

    rho: float
    step: float
    class_distance_ratio: float
