"""The result of a compression: an estimator, its errors, and the sizes of both flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kflow._base.short_repr import ShortRepr
from kflow.flow.kernel_flow import KernelFlow

__all__ = ["Compression", "FlowSize"]


@dataclass(frozen=True)
class FlowSize:
    """How large a flow is, and what moving a point by it costs.

    Attributes
    ----------
    n_layers : int
        Number of layers.
    n_centres : int
        Number of centres of all layers together.
    rank : int
        Number of coordinates that move in the first layer.
    n_bytes : int
        Bytes of the centres and coefficients of all layers, in the flow's dtype.
    flops : int
        Operations of the two products that move one point through all layers: four for each centre
        and coordinate.
    """

    n_layers: int
    n_centres: int
    rank: int
    n_bytes: int
    flops: int

    @classmethod
    def of(cls, flow: KernelFlow) -> FlowSize:
        """Return the size of a flow that kept its layers."""
        n_centres = n_bytes = flops = rank = 0
        for number, (z, c, _) in enumerate(flow.replay().store):
            rank = c.shape[1] if number == 0 else rank
            n_centres += len(z)
            n_bytes += z.nbytes + c.nbytes
            flops += 2 * (z.size + c.size)
        return cls(flow.n_layers_, n_centres, rank or flow.rank_, n_bytes, flops)


@dataclass(frozen=True, eq=False, repr=False)
class Compression(ShortRepr):
    """A compressed estimator, and how far it is from the original.

    Attributes
    ----------
    estimator : KernelFlow, KernelFlowClassifier, KernelFlowRegressor or a pipeline
        An estimator of the kind that was compressed. Its flow has layers but no training points: it
        transforms and predicts, is saved and loaded, but cannot `run`.
    reached : bool
        Whether `position_error` is within the tolerance.
    position_error : float
        Root mean square of |F'(x) - F(x)| over the points x held out, F' the compressed flow and F
        the original one, in units of the root mean squared distance between two points of F(X).
    largest_error : float
        The largest |F'(x) - F(x)| there, in the same unit.
    prediction_change : float
        Classifiers: share of the points held out whose predicted class changes. Regressors: root mean
        squared change of their predictions, in units of their standard deviation. NaN for a flow.
    before, after : FlowSize
        Sizes of the two flows.
    """

    estimator: Any
    reached: bool
    position_error: float
    largest_error: float
    prediction_change: float
    before: FlowSize
    after: FlowSize
