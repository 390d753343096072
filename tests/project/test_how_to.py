"""The code on the how-to pages runs, from the top of each page to its bottom."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = {page.stem: BLOCKS.findall(page.read_text("utf-8")) for page in PAGES.glob("*.md")}


@pytest.mark.slow
@pytest.mark.skipif(not CODE, reason="the pages are not here")
@pytest.mark.parametrize("page", [name for name in sorted(CODE) if CODE[name]])
def test_code_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = ModuleType("a_page")  # a module, so that what it defines can be pickled
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile("\n".join(CODE[page]), page, "exec"), module.__dict__)
