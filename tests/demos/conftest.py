from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

import kflow
from kflow.cli import main


@pytest.fixture
def run():
    """Run a demo by the command line."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, ["demo", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def figure():
    """A small figure."""
    figure = Figure(figsize=(2.0, 1.0))
    figure.subplots().plot([0, 1])
    return figure


class Page(HTMLParser):
    """What a page refers to, and whether its elements are closed."""

    void = frozenset({"meta", "img", "link", "br", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.tags, self.alts, self.text = [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.references += [values[name] for name in ("src", "href", "srcset") if name in values]
        assert not any(name.startswith("on") for name in values)
        if tag == "img":
            self.alts.append(values["alt"])
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in self.void
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page_of():
    """Return a function that reads an HTML page."""
    return Page


@pytest.fixture
def check_written():
    """Return a function that checks that a report is complete, and returns its numbers."""
    return _check_written


def _check_written(folder, n_figures):
    """Check that a report is complete, and return its numbers."""
    page = Page((folder / "report.html").read_text("utf-8"))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    loads = [one for one in page.references if not one.startswith("#")]
    images = [one for one in loads if re.match(r"data:image/(png|gif);base64,", one)]
    links = [one for one in loads if one.startswith("https://")]  # a link loads nothing
    assert sorted(images + links) == sorted(loads)
    assert "url(" not in (folder / "report.html").read_text("utf-8")
    assert len(images) == n_figures == len(page.alts)
    assert all(page.alts)
    places = set(re.findall(r'id="([^"]+)"', (folder / "report.html").read_text("utf-8")))
    assert {one[1:] for one in page.references if one.startswith("#")} <= places
    markdown = (folder / "report.md").read_text("utf-8")
    named = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    files = {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    assert set(named) == files
    assert len(named) == n_figures
    for name in named:
        with Image.open(folder / name) as image:
            image.load()
        assert (folder / name).stat().st_size < (1_500_000 if name.endswith("gif") else 150_000)
    text = (folder / "results.json").read_text("utf-8")
    results = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert results["kflow"] == kflow.__version__
    assert results["n_threads"] >= 1
    assert results["seconds"] > 0
    for told in (results["command"], kflow.__version__, results["processor"] or "unknown"):
        assert told in page.text
        assert told in markdown
    return results["numbers"]
