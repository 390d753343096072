"""Tests that go on for as long as one lets them: damaged files, lives of flows, kills, readers.

``./dev soak --minutes 60`` runs all of them and prints counts. The tests in ``tests/soak`` run a second
of each.
"""

from __future__ import annotations
