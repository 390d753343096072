from __future__ import annotations

import json
import re
from importlib import resources

import numpy as np
import pytest

from kflow.demos.report import Report

PIXEL = b"GIF89a\x01\x00\x01\x00\x00\xff\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;"


NASTY = "<script>alert('x')</script> & \"quotes\" | `code` *stars* [x](y) {a}` $m$ _u_ \\ #1"


def test_plain_text_is_escaped(figure, tmp_path, check_written, page_of):
    report = Report(NASTY, "A summary.", f"kflow demo {NASTY}")
    report.section(NASTY).figure(figure, "line", NASTY).table([NASTY, "b"], [[NASTY, 1]], NASTY)
    report.settings[NASTY] = NASTY
    report.numbers[NASTY] = NASTY
    report.seconds = 1.0
    report.write(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    page = page_of(text)
    assert "<script" not in text
    assert page.alts == [NASTY]
    assert page.text.count(NASTY) == 11
    assert check_written(tmp_path, 1) == {NASTY: NASTY}


def test_plain_text_is_plain_in_markdown(figure, page_of):
    from markdown_it import MarkdownIt

    report = Report(NASTY, "A summary.", "ls ```` | wc")
    report.section(NASTY).figure(figure, "line", NASTY).table([NASTY, "b"], [[NASTY, 1]], NASTY)
    report.settings[NASTY] = NASTY
    # A renderer that lets HTML pass.
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(report.markdown())
    page = page_of(html)
    assert "script" not in page.tags
    assert page.references == ["figures/line.png", "results.json"]
    assert page.text.count(NASTY) == 8
    assert "$ ls ```` | wc" in page.text


def test_markdown_becomes_html():
    report = Report("T", "A *b* `c<d` **e** [f](https://arxiv.org/abs/1808.04475) 1 < 2 & 3.", "x")
    report.section("S", "- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx < y\n```")
    html = report.html()
    assert "<em>b</em> <code>c&lt;d</code> <strong>e</strong>" in html
    assert '<a href="https://arxiv.org/abs/1808.04475">f</a> 1 &lt; 2 &amp; 3.' in html
    assert "<li>one</li>" in html
    assert "<td>1</td>" in html
    assert "x &lt; y" in html
    assert "- one\n- two" in report.markdown()


@pytest.mark.parametrize(
    "text",
    ["<b>x</b>", "a <i>b", "<!-- x -->", "<div>\nx\n</div>", "![x](http://example.org/x.png)"],
)
def test_text_without_html_and_pictures(text):
    report = Report("T", "S", "x")
    with pytest.raises(ValueError, match="text has"):
        report.section("S", text)
    with pytest.raises(ValueError, match="text has"):
        Report("T", text, "x")


def test_the_same_figure_is_the_same_file(figure):
    report = Report("T", "S", "x")
    report.section("S").figure(figure, "a", "A").figure(figure, "b", "B", alt="Alt")
    first, second = report.sections[0].parts
    assert first.content == second.content
    assert (first.alt, second.alt) == ("A", "Alt")


def test_numbers_of_all_kinds():
    report = Report("T", "S", "x")
    report.numbers.update(
        {"array": np.array([1.0, np.nan, np.inf]), "int": np.int64(3), 7: (True, None, "text")}
    )
    told = json.loads(report.json())["numbers"]
    assert told == {"array": [1.0, None, None], "int": 3, "7": [True, None, "text"]}


def test_figures_and_tables_are_numbered(figure):
    report = Report("T", "S", "x")
    report.section("A").figure(figure, "one", "First").table(["a"], [[1.23456]], "Table")
    report.section("B").figure(figure, "two", "Second").animation(PIXEL, "three", "Third")
    html = report.html()
    for name in ("Figure 1.</b> First", "Figure 2.</b> Second", "Figure 3.</b> Third"):
        assert f"<b>{name}" in html
    assert "<b>Table 1.</b> Table" in html
    assert "<td>1.235</td>" in html


def test_cells():
    report = Report("T", "S", "x")
    report.settings.update({"a": True, "b": None, "c": [1, 0.5], "d": {"e": 1e-7}, "f": np.nan})
    values = re.findall(r"<td>([^<]*)</td>", report.html())
    assert values[-5:] == ["yes", "none", "1, 0.5", "e: 1e-07", "nan"]


def test_cells_of_numpy():
    third = np.float32(1.0 / 3.0)
    cells = [np.bool_(True), np.int64(3), third, np.array(third), np.array([third, 2.0])]
    report = Report("T", "S", "x")
    report.section("S").table(["cell"], [[cell] for cell in cells], "T")
    report.settings.update({"a": {"b": np.array([[True], [False]])}, "c": [third, np.str_("d")]})
    values = re.findall(r"<td>([^<]*)</td>", report.html())
    assert values[:5] == ["yes", "3", "0.3333", "0.3333", "0.3333, 2"]
    assert values[-2:] == ["b: yes, no", "0.3333, d"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a b", "a.png", "-a"])
def test_names_of_figures(name, figure):
    with pytest.raises(ValueError, match="name must be of lower-case"):
        Report("T", "S", "x").section("S").figure(figure, name, "A")


def test_what_reports_refuse(figure, tmp_path):
    section = Report("T", "S", "x").section("S").figure(figure, "a", "A")
    with pytest.raises(ValueError, match="has a figure 'a' already"):
        section.figure(figure, "a", "A")
    with pytest.raises(ValueError, match="rows must have 2 cells"):
        section.table(["a", "b"], [[1]], "T")
    with pytest.raises(ValueError, match="gif is no GIF"):
        section.animation(b"PNG", "b", "B")
    (tmp_path / "x.gif").write_bytes(PIXEL)
    section.animation(tmp_path / "x.gif", "c", "C")


def test_durations():
    report = Report("T", "S", "x")
    for seconds, told in (
        (0.1234, "0.12 s"),
        (42.4, "42 s"),
        (125, "2 min 5 s"),
        (7384, "2 h 3 min"),
    ):
        report.seconds = seconds
        assert f"<td>{told}</td>" in report.html()


def test_templates_are_in_the_package():
    for name in ("report.html.jinja", "report.md.jinja"):
        assert resources.files("kflow.demos").joinpath("templates", name).is_file()


def test_what_cannot_be_written_is_told_and_the_rest_kept(figure, tmp_path):
    report = Report("T", "S", "x")
    report.section("S").figure(figure, "a", "A")
    (tmp_path / "report.md").mkdir()
    (tmp_path / "report.md" / "x").touch()
    with pytest.raises(
        OSError, match=r"not everything could be written to .*: report.md: Is a dir"
    ):
        report.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "figures",
        "report.html",
        "report.md",
        "results.json",
    }


def test_a_file_in_the_way_of_the_figures_costs_the_figures_only(figure, tmp_path):
    report = Report("T", "S", "x")
    report.section("S").figure(figure, "a", "A")
    (tmp_path / "figures").write_text("kept")
    with pytest.raises(OSError, match=r"figures/a\.png: File exists$"):
        report.write(tmp_path)
    assert (tmp_path / "figures").read_text() == "kept"
    for name in ("results.json", "report.md", "report.html"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_report_without_figures_makes_no_folder_for_them(tmp_path):
    Report("T", "S", "x").write(tmp_path / "a" / "b")
    assert not (tmp_path / "a" / "b" / "figures").exists()
