"""The places that hold the points of a flow, and their protocol."""

from __future__ import annotations
