from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import kflow

MODULES = [module.name for module in pkgutil.walk_packages(kflow.__path__, "kflow.")]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    if name.startswith(("kflow.torch", "kflow.engine.torch")):
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
