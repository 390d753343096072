"""Linear algebra with kernel matrices: factorisations, iterative solvers, interpolants."""

from __future__ import annotations
