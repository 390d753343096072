"""The places that hold the points of a flow: one protocol."""

from __future__ import annotations
