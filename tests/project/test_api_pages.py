"""The API reference leaves no public name out."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "api"
MODULE = re.compile(r"^\.\. (?:current)?module:: (\S+)$", re.MULTILINE)
TABLE = re.compile(r"^\.\. autosummary-table:: (\S+)$", re.MULTILINE)
ENTRIES = re.compile(r"^\.\. autosummary::\n(?:   :.*\n)*\n((?:   \S+\n)+)", re.MULTILINE)

# Constants, what has a place on another page, and what the parts of the package tell each other.
ELSEWHERE = {
    "kflow": {
        *("__version__", "analysis", "errors", "kernels", "losses", "pde", "timeseries"),
        *("DivergenceError", "ModelFileError", "SingularKernelError", "StorageError"),
    },
    "kflow.block_file": {"STORED_DTYPES"},
    "kflow.blocks": {"HISTORY", "Record"},
    "kflow.c_api": {"C_API", "FUNCTIONS", "get_include"},
    "kflow.callbacks": {"Callback", "callback_states", "ends_flow", "set_callback_states"},
    "kflow.datasets": {"DATASETS"},
    "kflow.demos": {"DEMOS"},
    "kflow.emulator": {"Emulator"},
    "kflow.evaluation": {"N_INTERPOLATION", "sizes_that_fit"},
    "kflow.kernels": {"RADIAL", "check_isotropic", "check_kernel", "is_isotropic"},
    "kflow.losses": {"LOSSES"},
    "kflow.optimizers": {"RULES"},
    "kflow.schedules": {"SCHEDULES"},
    "kflow.simulators": {"SIMULATORS"},
    "kflow.testing": {"SLOW_LOSSES"},
    "kflow.timeseries": {"LYAPUNOV"},
    "kflow.torch": {"losses"},
    "kflow.torch.losses": {"LOSSES"},
}
# Of these modules the pages show what users may need.
IN_PART = {"kflow.interpolant", "kflow.layers", "kflow.learning", "kflow.replay"}


def documented():
    names = {}
    for page in PAGES.glob("*.md"):
        text = page.read_text("utf-8")
        for block in re.findall(r"```\{eval-rst\}\n(.*?)```", text, re.DOTALL):
            for module, entries in zip(MODULE.findall(block), ENTRIES.findall(block), strict=False):
                names.setdefault(module, set()).update(entries.split())
            for table in TABLE.findall(block):
                module, _, name = table.rpartition(".")
                rows = getattr(importlib.import_module(module), name)
                entries = {getattr(row, "__name__", key) for key, row in rows.items()}
                names.setdefault(module, set()).update(entries)
    return names


DOCUMENTED = documented()


@pytest.mark.skipif(not PAGES.is_dir(), reason="the pages are not here")
def test_pages_are_understood():
    assert {"kflow", "kflow.kernels", "kflow.plotting", "kflow.analysis"} <= DOCUMENTED.keys()


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - IN_PART))
def test_every_public_name_has_an_entry(name):
    if name.startswith("kflow.torch"):
        pytest.importorskip("torch")
    public = set(importlib.import_module(name).__all__)
    assert public == DOCUMENTED[name] | ELSEWHERE.get(name, set())
