"""The files of flows and models: their formats, and the folder of a checkpoint."""

from __future__ import annotations
