"""Measure the house: rooms, import arrows, circles, the longest file and function, private accesses.

    python tools/house.py [FOLDER]

FOLDER is the root of a checkout, this one if it is not given. Imports are read from the sources, those
inside functions and those for types only included, so that nothing has to be installed or imported.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = "kflow"


def floors_of_the_contract(root: Path) -> tuple[tuple[str, ...], ...]:
    """Return the rooms from the top to the bottom, as the linter's contract names them.

    Rooms on one floor do not know each other. The first floor has the names under which parts of
    other rooms are documented.
    """
    with (root / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return tuple(tuple(rooms.split(" | ")) for rooms in layers)


FLOORS = floors_of_the_contract(Path(__file__).resolve().parents[1])


class Access(NamedTuple):
    """A private name of another module that is used."""

    module: str
    line: int
    name: str


class _Pair(NamedTuple):
    """Has the methods of all named tuples."""

    first: int
    second: int


class Module(NamedTuple):
    """One source file."""

    name: str
    path: Path
    tree: ast.Module
    n_lines: int


def modules_of(root: Path) -> dict[str, Module]:
    """Return the modules of the package by their names."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, ast.parse(text), text.count("\n"))
    return modules


def imports_of(module: Module, modules: dict[str, Module]) -> Iterator[str]:
    """Yield the modules of the package that a module imports."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.endswith("._core"):  # the extension module
                continue
            parts = name.split(".")
            while parts and ".".join(parts) not in modules:
                parts.pop()
            if parts and ".".join(parts) != module.name:
                yield ".".join(parts)


def arrows(modules: dict[str, Module]) -> dict[str, set[str]]:
    """Return what each module imports."""
    return {name: set(imports_of(module, modules)) for name, module in modules.items()}


def room_of(module: str) -> str:
    """Return the room of a module: what follows the package's name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def room_arrows(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    rooms: defaultdict[str, set[str]] = defaultdict(set)
    for name, imported in graph.items():
        here = room_of(name)
        rooms[here] |= {room_of(other) for other in imported} - {here, ""}
    return dict(rooms)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other: strong components (R. Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def upward(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the arrows between rooms that do not go down."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return sorted(
        (name, other)
        for name, imported in graph.items()
        for other in imported
        if room_of(name) != room_of(other)
        and room_of(name) in floor
        and room_of(other) in floor
        and floor[room_of(other)] <= floor[room_of(name)]
    )


def is_private(name: str) -> bool:
    """Return whether a name has one leading underscore; those of named tuples' methods are public."""
    return name.startswith("_") and not name.startswith("__") and not hasattr(_Pair, name)


def is_own_attribute(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Return whether an expression is an attribute of self or cls."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
    )


def private_names(tree: ast.Module) -> set[str]:
    """Return the private names that a module defines, also as attributes of its own objects."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif is_own_attribute(node) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def private_accesses(modules: dict[str, Module]) -> list[Access]:
    """Return where modules use private names that other modules of the package define."""
    own = {name: private_names(module.tree) for name, module in modules.items()}
    defined = set().union(*own.values())
    found = []
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                if not is_own_attribute(node) and node.attr in defined - own[name]:
                    found.append(Access(name, node.lineno, node.attr))
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                found += [
                    Access(name, node.lineno, alias.name)
                    for alias in node.names
                    if is_private(alias.name)
                    and f"{node.module}.{alias.name}" not in modules
                    and alias.name != "_core"
                ]
    return found


def longest_function(modules: dict[str, Module]) -> tuple[int, str]:
    """Return the length in lines, without its docstring, and the name of the longest function."""
    functions = (
        (n_lines_of_code(node), f"{name}.{node.name}")
        for name, module in modules.items()
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return max(functions)


def n_lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has, without its docstring."""
    n_lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        n_lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return n_lines


def compiled_core_users(modules: dict[str, Module]) -> set[str]:
    """Return the modules that import the compiled core."""
    return {
        name
        for name, module in modules.items()
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.ImportFrom) and any(alias.name == "_core" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").endswith("._core"))
    }


def main(root: Path) -> None:
    """Print the figures, and whatever should not be there."""
    modules = modules_of(root)
    graph = arrows(modules)
    rooms = room_arrows(graph)
    private = private_accesses(modules)
    longest = max(modules.values(), key=lambda module: module.n_lines)
    n_function, function = longest_function(modules)
    figures = {
        "rooms": len(rooms.keys() - {""}),
        "modules": len(modules),
        "arrows between modules": sum(map(len, graph.values())),
        "arrows between rooms": sum(len(imported) for room, imported in rooms.items() if room),
        "arrows upwards": len(upward(graph)),
        "circles of modules": len(circles(graph)),
        "circles of rooms": len(circles(rooms)),
        "longest file": f"{longest.n_lines} lines ({longest.name})",
        "longest function": f"{n_function} lines ({function})",
        "files of more than 500 lines": sum(m.n_lines > 500 for m in modules.values()),
        "private accesses across modules": len(private),
        "modules that import the compiled core": len(compiled_core_users(modules)),
        "lines of Python": sum(module.n_lines for module in modules.values()),
    }
    for name, figure in figures.items():
        print(f"{name:40} {figure}")
    for group in circles(graph):
        print("circle:", " ".join(group))
    for name, other in upward(graph):
        print(f"upwards: {name} -> {other}")
    for access in private:
        print(f"private: {access.module}:{access.line} {access.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
