from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
from click.testing import CliRunner
from kflow.cli.command import main
from matplotlib.figure import Figure
from PIL import Image

import kflow
from kflow import demos
from kflow.demos import DEMOS, Demo, Options, command
from kflow.demos.animation import animated_gif
from kflow.demos.continuous_limit import MeanFlow
from kflow.demos.report import Report
from kflow.demos.swiss_roll import spirals

PIXEL = b"GIF89a\x01\x00\x01\x00\x00\xff\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;"


@pytest.fixture
def run():
    def run(*arguments, code=0):
        result = CliRunner().invoke(main, ["demo", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def figure():
    figure = Figure(figsize=(2.0, 1.0))
    figure.subplots().plot([0, 1])
    return figure


@pytest.fixture
def small(monkeypatch, figure):
    """A demo that takes no time."""
    calls = []

    def function(options):
        calls.append(options)
        report = Report("Small", "A summary.", options.command("small"))
        report.section("One", "Text.").figure(figure, "line", "A line.")
        report.numbers["one"] = 1
        return report

    monkeypatch.setattr(demos, "import_module", lambda name: sys.modules.get(name) or module)
    module = type(sys)("small")
    module.run = function
    monkeypatch.setitem(DEMOS, "digits-of-pi", Demo("A small one", "nowhere"))
    monkeypatch.setattr(command.demo.params[0], "type", type(command.demo.params[0].type)(DEMOS))
    return calls


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


def check_written(folder, n_figures):
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


# ---- the demos ------------------------------------------------------------------------------------


def test_swiss_roll(run, tmp_path):
    result = run("swiss-roll", "--quick", "--output", tmp_path, "--threads", 1)
    assert result.stdout == f"{tmp_path / 'report.html'}\n"
    assert "part" in result.stderr
    numbers = check_written(tmp_path, n_figures=8)
    for name in ("small steps", "large steps"):
        flow = numbers[name]
        assert flow["linearly_separable"][0] is False
        assert flow["linearly_separable"][-1] is True
        assert flow["best_line_error"][0] > 0.3
        assert flow["best_line_error"][-1] == 0.0
        assert 0 < flow["first_linearly_separable"] < flow["layers"][-1]
        assert flow["rho"]["last"] < 0.4 * flow["rho"]["first"]
    assert numbers["small nugget"]["first_linearly_separable"] is None
    assert numbers["interpolation"]["error_from_10"][0] > 0.2
    assert numbers["interpolation"]["error_from_10"][-1] < 0.05
    with Image.open(tmp_path / "figures" / "small-steps-animated.gif") as image:
        assert image.n_frames > 10


@pytest.mark.parametrize("seed", [1, 2])
def test_the_swiss_roll_ends_separable_whatever_the_halves(seed):
    from kflow.demos import swiss_roll

    X, y = spirals(100)
    for settings in swiss_roll._settings(quick=True)[:2]:
        flow = settings.flow(X, y, Options(quick=True, seed=seed))
        assert swiss_roll.separating_hyperplane(flow.points_, y) is not None


def test_the_swiss_rolls_summary_follows_its_numbers():
    from kflow.demos.swiss_roll import _summary

    def told(small, large, end):
        errors = [0.4, end]
        flows = [{"first_linearly_separable": n, "best_line_error": errors} for n in (small, large)]
        return _summary(*flows, 100)

    assert told(1200, 90, 0.0).endswith(
        "unrolls the spirals: after 1200 small steps or 90 large steps a straight line separates the "
        "classes."
    )
    assert told(None, 90, 0.02).endswith(
        "after 90 large steps a straight line separates the classes. With small steps none does at "
        "any n shown. After all small steps the best line has 2.0% on its wrong side."
    )
    assert told(1200, None, 0.0).endswith("With large steps none does at any n shown.")
    neither = told(None, None, 0.25)
    assert "None" not in neither
    assert "unrolls" not in neither
    assert "none separates the classes at any n shown. After all small steps" in neither


def test_what_is_said_of_the_true_conductivity_follows_rho():
    from kflow.demos.pde import _ONE, _descent

    def told(learned, true):
        return _descent({_ONE: {"rho": learned}, "the true a": {"rho": true}})

    assert "a is not where ρ is smallest" in told(0.001, 0.002)
    assert "smallest" not in told(0.002, 0.001)


def test_continuous_limit(run, tmp_path):
    result = run("continuous-limit", "--quick", "--quiet", "--json", "--output", tmp_path)
    assert result.stderr == ""
    numbers = check_written(tmp_path, n_figures=3)
    assert json.loads(result.stdout)["numbers"] == numbers
    orders = numbers["small_problem"]["orders"]
    assert orders["single flow"] == pytest.approx(0.5, abs=0.05)
    assert orders["mean of flows"] == pytest.approx(1.0, abs=0.25)
    assert orders["all halves"] == pytest.approx(1.0, abs=0.05)
    distances = numbers["swiss_roll"]["rms_distance"]
    assert distances[-1] < 0.4 * distances[0]
    assert numbers["swiss_roll"]["limit_changes_by"] < 0.5 * distances[-1]
    assert distances[-1] < 0.1 * numbers["swiss_roll"]["moved"]
    told = (tmp_path / "report.md").read_text("utf-8")
    assert f"it is {numbers['swiss_roll']['order_of_larger_steps']:.2f}." in told
    errors = numbers["small_problem"]["errors"]
    pairs = zip(errors["mean of flows"], errors["all halves"], strict=True)
    ratios = [mean / euler for mean, euler in pairs if mean is not None]
    assert f"is {min(ratios):.2g} to {max(ratios):.2g} times as far" in told


def test_pde(run, tmp_path):
    run("pde", "--quick", "--quiet", "--output", tmp_path)
    errors = check_written(tmp_path, n_figures=3)["errors"]
    before, one, many = (
        errors[name] for name in ("b = 1", "b from one solution", "b from 4 solutions")
    )
    assert one["rho"] < 0.1 * before["rho"]
    assert one["u_error"] < 0.4 * before["u_error"]
    assert many["l2_error"] < one["l2_error"] < 0.6 * before["l2_error"]
    assert errors["the true a"]["l2_error"] == 0.0


# ---- the mean flow --------------------------------------------------------------------------------


def test_the_mean_velocity_is_the_mean_over_all_halves():
    from itertools import combinations

    X, y = spirals(6)
    kernel, nugget = kflow.kernels.Gaussian(0.7), 0.05
    gradients = [
        kflow.rho_gradient(X, y, half, kernel=kernel, nugget=nugget)[1]
        for half in combinations(range(6), 3)
    ]
    K = kernel(X)
    expected = -K @ np.linalg.inv(K + nugget * np.eye(6)) @ np.mean(gradients, axis=0)
    flow = MeanFlow(X, y, kernel, nugget)
    np.testing.assert_allclose(flow.velocity(X), expected, rtol=1e-9, atol=1e-14)


def test_one_layer_takes_one_step_along_the_mean_on_average():
    X, y = spirals(6)
    flow = MeanFlow(X, y, kflow.kernels.Gaussian(0.7), 0.05)
    moved = [
        kflow.KernelFlow(
            flow.kernel,
            n_layers=1,
            batch_size=6,
            nugget=0.05,
            step="fixed",
            step_size=0.1,
            dtype="float64",
            random_state=seed,
        )
        .fit(X, y)
        .points_
        - X
        for seed in range(800)
    ]
    spread = np.std(moved, axis=0) / len(moved) ** 0.5
    difference = np.abs(np.mean(moved, axis=0) - (flow.euler(0.1, 1) - X))
    assert (difference < 4.5 * spread).all()


def test_the_solution_is_what_euler_tends_to():
    X, y = spirals(6)
    flow = MeanFlow(X, y, kflow.kernels.Gaussian(0.7), 0.05)
    exact = flow.solution(2.0)
    coarse, fine = flow.euler(2.0, 20), flow.euler(2.0, 40)
    np.testing.assert_allclose(2 * fine - coarse, exact, atol=0.1 * np.abs(fine - exact).max())


def test_spirals():
    X, y = spirals(10)
    assert X.shape == (10, 2)
    assert y.tolist() == [1.0, -1.0] * 5
    assert np.linalg.norm(X, axis=1).max() == pytest.approx(1.0)


# ---- reports --------------------------------------------------------------------------------------

NASTY = "<script>alert('x')</script> & \"quotes\" | `code` *stars* [x](y) {a}` $m$ _u_ \\ #1"


def test_plain_text_is_escaped(figure, tmp_path):
    report = Report(NASTY, "A summary.", f"kflow demo {NASTY}")
    report.section(NASTY).figure(figure, "line", NASTY).table([NASTY, "b"], [[NASTY, 1]], NASTY)
    report.settings[NASTY] = NASTY
    report.numbers[NASTY] = NASTY
    report.seconds = 1.0
    report.write(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Page(text)
    assert "<script" not in text
    assert page.alts == [NASTY]
    assert page.text.count(NASTY) == 11
    assert check_written(tmp_path, 1) == {NASTY: NASTY}


def test_plain_text_is_plain_in_markdown(figure):
    from markdown_it import MarkdownIt

    report = Report(NASTY, "A summary.", "ls ```` | wc")
    report.section(NASTY).figure(figure, "line", NASTY).table([NASTY, "b"], [[NASTY, 1]], NASTY)
    report.settings[NASTY] = NASTY
    # A renderer that lets HTML pass.
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(report.markdown())
    page = Page(html)
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


def test_animations(figure):
    ax = figure.axes[0]

    def frames():
        for n in range(3):
            ax.set_title(str(n))
            yield

    gif = animated_gif(figure, frames(), dpi=50)
    import io

    with Image.open(io.BytesIO(gif)) as image:
        assert (image.n_frames, image.size) == (3, (100, 50))
        image.seek(2)
        assert image.info["duration"] == 2000


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


# ---- the command ----------------------------------------------------------------------------------


def test_list(run):
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(DEMOS)
    assert all(entry.summary in line for entry, line in zip(DEMOS.values(), lines, strict=True))


def test_list_as_json(run):
    told = json.loads(run("--list", "--json").stdout)
    assert told == {name: entry.summary for name, entry in DEMOS.items()}


def test_bad_names(run):
    assert "'cheese' is not one of" in run("cheese", code=2).stderr
    assert "kflow demo --list" in run(code=2).stderr
    with pytest.raises(ValueError, match="there is no demo 'cheese': pass one of"):
        demos.run("cheese")


def test_bad_options(run, tmp_path):
    assert "--seed" in run("swiss-roll", "--seed", -1, code=2).stderr
    result = run("swiss-roll", "--threads", 0, "--output", tmp_path / "out", code=1)
    assert result.stderr == "Error: n_threads must be a positive whole number, got 0\n"
    assert not (tmp_path / "out").exists()


def test_options_reach_the_demo(run, small, tmp_path):
    arguments = ("--seed", 3, "--threads", 2, "--data-dir", tmp_path, "--quiet", "--quick")
    run("digits-of-pi", *arguments, "--output", tmp_path)
    assert small == [Options(True, 3, 2, tmp_path, False)]
    assert Options(True, 3).command("x") == "kflow demo x --quick --seed 3"
    assert small[0].command("x") == "kflow demo x --quick --seed 3 --data-dir DIR"
    assert check_written(tmp_path, 1) == {"one": 1}


def test_the_default_folder(run, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("digits-of-pi").stdout == "kflow-demo/digits-of-pi/report.html\n"
    assert len(small) == 1
    assert (tmp_path / "kflow-demo" / "digits-of-pi" / "results.json").exists()


def test_folders_are_checked_before_the_run(run, small, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    result = run("digits-of-pi", "--output", tmp_path / "file", code=1)
    assert result.stderr == f"Error: {tmp_path / 'file'}: File exists\n"
    (tmp_path / "a" / "report.html").mkdir(parents=True)
    assert run("digits-of-pi", "--output", tmp_path / "a", code=1).stderr == (
        f"Error: {tmp_path / 'a' / 'report.html'} is a folder: pass another --output\n"
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "figures").touch()
    assert run("digits-of-pi", "--output", tmp_path / "b", code=1).stderr == (
        f"Error: {tmp_path / 'b' / 'figures'} is not a folder: pass another --output\n"
    )
    monkeypatch.setattr(command, "_ROOM", 2**62)
    result = run("digits-of-pi", "--output", tmp_path / "c", code=1)
    assert "GB free: pass another --output" in result.stderr
    assert not (tmp_path / "c").exists()
    assert small == []


def test_a_failed_run_leaves_no_empty_folders(run, tmp_path):
    (tmp_path / "there").mkdir()
    for place in ("new", "new/in/new", "there", "there/new"):
        result = run("mnist", "--output", tmp_path / place, code=1)
        assert "data_dir" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.usefixtures("small")
def test_numbers_are_told_even_where_nothing_can_be_written(run, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("digits-of-pi", "--json", "--output", tmp_path, code=1)
    assert json.loads(result.stdout)["numbers"] == {"one": 1}
    names = "results.json, figures/line.png, report.md, report.html"
    assert result.stderr == (
        f"Error: not everything could be written to {tmp_path}: {names}: No space left on device\n"
    )
    assert [path.name for path in tmp_path.rglob("*")] == ["figures"]


@pytest.mark.usefixtures("small")
def test_a_failure_is_one_line(run, tmp_path, monkeypatch):
    def fail(_):
        raise kflow.DivergenceError("the flow\ndiverged")

    monkeypatch.setattr(demos.import_module("small"), "run", fail)
    result = run("digits-of-pi", "--output", tmp_path, code=1)
    assert result.stderr == "Error: the flow diverged\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2", "markdown_it"])
def test_what_is_missing_is_told_with_the_remedy(missing, run_python):
    done = run_python(
        f"""
        import sys
        sys.modules[{missing!r}] = None
        from kflow.cli import main
        main(["demo", "swiss-roll", "--quick"])
        """,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: a demo's report needs {missing}")
    assert "pip install 'kflow[demo]'" in line


def test_the_list_imports_nothing_heavy(run_python):
    done = run_python(
        """
        import sys
        from kflow.cli import main
        main(["demo", "--list"], standalone_mode=False)
        heavy = {"matplotlib", "jinja2", "rich", "scipy", "sklearn"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
        """
    )
    assert "swiss-roll" in done.stdout


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", ["html", "markdown", "json"])
def test_ctrl_c_leaves_no_half_written_files(place, run, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, place, interrupted)
    result = run("digits-of-pi", "--quiet", "--output", tmp_path, code=130)
    assert result.stderr == "Aborted\n"
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    complete = ["results.json", "line.png", "report.md"]
    assert files == set(complete[: {"json": 0, "markdown": 2, "html": 3}[place]])
