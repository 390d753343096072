"""The code of README and of every page runs as printed, from the top of a page to its bottom.

Blocks of ``python`` run. Blocks of ``py`` do not: they are parts of files, or need a cluster or minutes.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from kflow.cli import main

ROOT = Path(__file__).parents[2]
MADE = {"generated", "tutorial"}  # by the build of the documentation
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {
    page.relative_to(ROOT).as_posix(): page.read_text("utf-8")
    for page in PAGES
    if page.is_file() and not MADE & set(page.parts)
}
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ ((?:[^\\\n]|\\\n)+)", re.MULTILINE)


def commands(program):
    """Return the words of all command lines on the pages that start with a program."""
    blocks = [(page, block) for page, text in TEXTS.items() for block in CONSOLE.findall(text)]
    lines = [(page, line.replace("\\\n", " ")) for page, b in blocks for line in COMMAND.findall(b)]
    words = [(page, shlex.split(line, comments=True)) for page, line in lines]
    return [(page, line) for page, line in words if line[: len(program)] == program]


@pytest.mark.slow
@pytest.mark.skipif(not TEXTS, reason="the pages are not here")
@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if CODE.search(text)])
def test_code_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = ModuleType("a_page")  # a module, so that what it defines can be pickled
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile("\n".join(CODE.findall(TEXTS[page])), page, "exec"), module.__dict__)


@pytest.mark.skipif(not TEXTS, reason="the pages are not here")
def test_command_lines_have_options_that_there_are():
    lines = commands(["kflow"])
    assert lines
    for page, (_, name, *words) in lines:
        command = main.get_command(click.Context(main), name)
        assert command is not None, f"{page}: kflow {name}"
        options = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options | {"--help"}, f"{page}: kflow {name}"


@pytest.mark.skipif(not TEXTS, reason="the pages are not here")
def test_benchmarks_of_the_pages_are_there_with_their_options():
    lines = commands(["python"])
    assert lines
    for page, (_, script, *words) in lines:
        if script.endswith(".py"):
            source = "".join(
                path.read_text("utf-8") for path in (ROOT / script, ROOT / "bench" / "measuring.py")
            )
            for word in words:
                if word.startswith("--"):
                    assert f'"{word}"' in source, f"{page}: {script} {word}"
