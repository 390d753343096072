from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import kflow

MODULES = [f"kflow.{module.name}" for module in pkgutil.iter_modules(kflow.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
