"""Emulators of expensive models: fields as functions of a few numbers, with uncertainties and Jacobians."""

from __future__ import annotations

from kflow.emulator.emulator import Emulator
from kflow.emulator.held_out import HeldOutErrors

__all__ = ["Emulator", "HeldOutErrors"]
