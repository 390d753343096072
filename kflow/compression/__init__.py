"""A shorter flow with nearly the same map, fitted to where a stored flow takes points.

The stored flow is the teacher: F_n is known for any points and any n. A layer of the compressed flow
stands for many layers of the teacher. Its coefficients C are those of regularised least squares of
K(X', Z) C on F_m(X) - X', where X' are the points as the layers before left them, so that every layer
also corrects the errors of those before, and the centres Z are some of X'.
"""

from __future__ import annotations

from kflow.compression.result import Compression, FlowSize
from kflow.compression.search import compress

__all__ = ["Compression", "FlowSize", "compress"]
