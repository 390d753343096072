"""The rules of the house that its own measurement holds."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "house.py"

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason="the sources are not here")


@pytest.fixture(scope="module")
def house():
    spec = importlib.util.spec_from_file_location("house", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(house):
    return house.modules_of(ROOT)


@pytest.mark.slow
def test_every_room_has_a_floor(house, modules):
    floors = {room for rooms in house.FLOORS for room in rooms}
    assert {house.room_of(name) for name in modules} - {""} == floors


@pytest.mark.slow
def test_imports_go_down_without_circles(house, modules):
    graph = house.arrows(modules)
    assert house.upward(graph) == []
    assert house.circles(graph) == []


@pytest.mark.slow
def test_no_private_name_is_used_in_another_module(house, modules):
    assert house.private_accesses(modules) == []


@pytest.mark.slow
def test_only_the_engine_knows_the_compiled_core(house, modules):
    users = house.compiled_core_users(modules)
    assert users
    assert {house.room_of(name) for name in users} == {"engine"}


def test_long_files_say_why(modules):
    # Their docstring says "This file is long" and the reason.
    for name, module in modules.items():
        if module.n_lines > 500:
            assert "This file is long" in (ast.get_docstring(module.tree) or ""), name


def test_the_linter_has_the_same_floors(house):
    text = (ROOT / "pyproject.toml").read_text()
    layers = re.search(
        r'containers = \["kflow"\]\nexhaustive = true\nlayers = \[(.*?)\n\]', text, re.S
    )
    contract = [tuple(line.split(" | ")) for line in re.findall(r'"(.*?)"', layers[1])]
    assert contract == [tuple(rooms) for rooms in house.FLOORS]


def test_the_measurement_finds_what_is_wrong(house, tmp_path):
    def write(name, text):
        path = tmp_path / "kflow" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("__init__.py", "")
    write("data/__init__.py", "")
    write("data/a.py", "from kflow.data.b import f\n_mine = 1\n")
    write("data/b.py", "def f():\n    from kflow.data import a\n    return a._mine\n")
    write("errors.py", "import kflow.data.a\n")
    modules = house.modules_of(tmp_path)
    graph = house.arrows(modules)
    assert house.circles(graph) == [["kflow.data.a", "kflow.data.b"]]
    assert house.upward(graph) == [("kflow.errors", "kflow.data.a")]
    assert [(found.module, found.name) for found in house.private_accesses(modules)] == [
        ("kflow.data.b", "_mine")
    ]
