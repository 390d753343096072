"""Reports of experiments: one HTML file that needs nothing else, Markdown, numbers and figures.

Needs the ``demo`` extra.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from kflow import __version__
from kflow._base.files import replacing
from kflow._base.json_values import to_json
from kflow.engine.info import processor
from kflow.engine.threads import resolve_n_threads

try:
    import jinja2
    from markdown_it import MarkdownIt
    from matplotlib.figure import Figure
    from PIL import Image  # Matplotlib's
except ImportError as error:
    raise ImportError(
        f"a demo's report needs {error.name}: pip install 'kflow[demo]' (matplotlib, jinja2, "
        "markdown-it-py)"
    ) from error

__all__ = ["Report", "Section"]

FIGURES = "figures"
_DPI = 120
_MEDIA = {"png": "image/png", "gif": "image/gif"}
_MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class _Text:
    markdown: str


@dataclass(frozen=True)
class _Picture:
    name: str
    kind: str
    content: bytes
    caption: str
    alt: str
    number: int
    is_wide: bool = False

    @property
    def file(self) -> str:
        return f"{FIGURES}/{self.name}.{self.kind}"

    @property
    def uri(self) -> str:
        return f"data:{_MEDIA[self.kind]};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class _Table:
    columns: list[str]
    rows: list[list[str]]
    caption: str
    number: int


class Section:
    """A part of a report, filled from top to bottom. `Report.section` makes them."""

    def __init__(self, report: Report, title: str) -> None:
        self._report = report
        self.title = title
        self.parts: list[_Text | _Picture | _Table] = []

    def text(self, markdown: str) -> Section:
        """Add paragraphs.

        Parameters
        ----------
        markdown : str
            Markdown (CommonMark with tables), without HTML and pictures.

        Returns
        -------
        Section
            This section.

        Raises
        ------
        ValueError
            If the text has HTML or a picture in it.
        """
        self.parts.append(_Text(_checked(markdown)))
        return self

    def figure(
        self,
        figure: Figure,
        name: str,
        caption: str,
        *,
        alt: str | None = None,
        photographs: bool = False,
    ) -> Section:
        """Add a figure, drawn now.

        Parameters
        ----------
        figure : matplotlib.figure.Figure
            The figure, of any size. The report is 7 inches wide.
        name : str
            Name of its file without ending, of lower-case letters, digits and hyphens.
        caption : str
            Caption, before which its number is put.
        alt : str, optional
            Text for readers who do not see the figure; the caption if not given.
        photographs : bool
            Whether it shows photographs, whose colours are then mixed of 256 by dots.

        Returns
        -------
        Section
            This section.
        """
        drawn, small = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
        # A third of the size: 256 colours are more than a figure has but for its smooth edges. Those of
        # photographs are mixed of them.
        full = Image.open(drawn).convert("RGB")
        image = full.quantize(256, dither=Image.Dither.NONE)
        if photographs:
            image = full.quantize(palette=image, dither=Image.Dither.FLOYDSTEINBERG)
        image.save(small, "PNG", optimize=True, dpi=(_DPI, _DPI))
        # Panels side by side are too small on narrow screens, where the picture scrolls instead.
        columns = {round(ax.get_position().x0, 1) for ax in figure.axes}
        return self._picture(name, "png", small.getvalue(), caption, alt, len(columns) > 1)

    def animation(
        self,
        gif: bytes | str | os.PathLike[str],
        name: str,
        caption: str,
        *,
        alt: str | None = None,
    ) -> Section:
        """Add an animation.

        Parameters
        ----------
        gif : bytes or path
            Content of a GIF file, or its path.
        name, caption, alt
            As for `figure`.

        Returns
        -------
        Section
            This section.
        """
        content = gif if isinstance(gif, bytes) else Path(gif).read_bytes()
        if not content.startswith(b"GIF8"):
            raise ValueError("gif is no GIF: pass the bytes of one, or its path")
        return self._picture(name, "gif", content, caption, alt)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> Section:
        """Add a table.

        Parameters
        ----------
        columns : sequence of str
            Headings of the columns.
        rows : iterable of sequence
            Cells of the rows. Floats get four significant digits; everything else is shown as text.
        caption : str
            Caption, before which its number is put.

        Returns
        -------
        Section
            This section.
        """
        cells = [[_cell(value) for value in row] for row in rows]
        if any(len(row) != len(columns) for row in cells):
            raise ValueError(f"rows must have {len(columns)} cells each, as there are columns")
        self.parts.append(
            _Table([str(c) for c in columns], cells, caption, self._report._next_number("table"))
        )
        return self

    def _picture(
        self,
        name: str,
        kind: str,
        content: bytes,
        caption: str,
        alt: str | None,
        is_wide: bool = False,
    ) -> Section:
        self._report._claim(name)
        number = self._report._next_number("figure")
        self.parts.append(
            _Picture(name, kind, content, caption, caption if alt is None else alt, number, is_wide)
        )
        return self


@dataclass(eq=False)
class Report:
    """The report of an experiment: what was done, and what was found.

    Titles, captions, tables and settings are plain text; the summary and the text of sections are
    Markdown without HTML.

    Parameters
    ----------
    title, summary : str
        Title, and a summary of the results.
    command : str
        The shell command that makes this report again.

    Attributes
    ----------
    settings : dict
        Settings with which the results were computed, for the report and the JSON file.
    numbers : dict
        The results, for the JSON file: numbers, text, lists, arrays and dicts of them.
    sections : list of Section
        The sections in order, which `section` adds.
    seconds : float or None
        Duration of the experiment.
    n_threads : int or None
        Number of threads that was asked for; None for the default.

    Examples
    --------
    >>> from kflow.demos.report import Report
    >>> report = Report("A sum", "One and one *are* two.", "python -c 'print(1 + 1)'")
    >>> section = report.section("The result", "It is in the table.")
    >>> section = section.table(["a", "b", "a + b"], [[1, 1, 2]], "A sum.")
    >>> report.numbers["sum"] = 2
    """

    title: str
    summary: str
    command: str
    settings: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    seconds: float | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Check the summary."""
        _checked(self.summary)
        self._names: set[str] = set()
        self._numbers = {"figure": 0, "table": 0}

    def section(self, title: str, text: str = "") -> Section:
        """Begin a section.

        Parameters
        ----------
        title : str
            Title of the section.
        text : str
            Markdown, as for `Section.text`.

        Returns
        -------
        Section
            The new section, to be filled.
        """
        section = Section(self, title)
        self.sections.append(section)
        return section.text(text) if text else section

    def _claim(self, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            raise ValueError(
                f"name must be of lower-case letters, digits and hyphens, got {name!r}"
            )
        if name in self._names:
            raise ValueError(f"the report has a figure {name!r} already: pass another name")
        self._names.add(name)

    def _next_number(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]

    # ---- what is written ------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """Return the content of the JSON file: the numbers, and how they were computed."""
        return {
            "title": self.title,
            "command": self.command,
            "kflow": __version__,
            "seconds": self.seconds,
            "n_threads": resolve_n_threads(self.n_threads),
            "processor": processor(),
            "settings": self.settings,
            "numbers": self.numbers,
        }

    def json(self) -> str:
        """Return `results` as JSON. Numbers that are not finite become null."""
        return to_json(self.results()) + "\n"

    def html(self) -> str:
        """Return the report as one HTML page, which loads nothing."""
        return self._rendered("report.html.jinja", autoescape=True)

    def markdown(self) -> str:
        """Return the report as Markdown, which refers to the figures' files."""
        return self._rendered("report.md.jinja", autoescape=False)

    def _rendered(self, template: str, autoescape: bool) -> str:
        environment = jinja2.Environment(
            autoescape=autoescape,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters["html"] = _MARKDOWN.render
        environment.filters["plain"] = _escaped
        environment.filters["code"] = _code
        environment.tests["text"] = lambda part: isinstance(part, _Text)
        environment.tests["picture"] = lambda part: isinstance(part, _Picture)
        source = resources.files("kflow.demos").joinpath("templates", template)
        return environment.from_string(source.read_text("utf-8")).render(
            report=self,
            provenance=self._provenance(),
            settings=[(name, _cell(value)) for name, value in self.settings.items()],
        )

    def _provenance(self) -> list[tuple[str, str]]:
        threads = resolve_n_threads(self.n_threads)
        rows = [("kflow", __version__)]
        if self.seconds is not None:
            rows.append(("time", _duration(self.seconds)))
        rows.append(("threads", str(threads)))
        rows.append(("processor", processor() or "unknown"))
        return rows

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write the report.

        Parameters
        ----------
        folder : path
            Folder for results.json, figures/ if there are any, report.md and report.html, which are
            written in this order. The folder is made if it is missing. Files of these names are
            replaced, each when its successor is complete.

        Returns
        -------
        Path
            Path of report.html.

        Raises
        ------
        OSError
            If not everything can be written. Whatever can be written is written.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        pictures = (
            part
            for section in self.sections
            for part in section.parts
            if isinstance(part, _Picture)
        )
        files: list[tuple[str, Callable[[], bytes]]] = [
            ("results.json", lambda: self.json().encode()),
            *((picture.file, lambda picture=picture: picture.content) for picture in pictures),
            ("report.md", lambda: self.markdown().encode()),
            ("report.html", lambda: self.html().encode()),
        ]
        failed: dict[str, list[str]] = {}
        for name, content in files:
            try:
                (place / name).parent.mkdir(exist_ok=True)
                with replacing(place / name) as file:
                    file.write(content())
            except OSError as error:
                failed.setdefault(error.strerror or str(error), []).append(name)
        if failed:
            reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in failed.items())
            raise OSError(f"not everything could be written to {place}: {reasons}")
        return place / "report.html"


def percent(share: float) -> str:
    """Return a part of the whole as text, in percent."""
    return f"{100.0 * share:.2f} %"


def _checked(markdown: str) -> str:
    """Return Markdown if it is safe in every renderer, also in those that let HTML pass."""
    tokens = _MARKDOWN.parse(markdown)
    for token in (inner for outer in tokens for inner in (outer, *(outer.children or ()))):
        if token.type in ("html_block", "html_inline"):
            raise ValueError(f"text has HTML in it, {token.content!r}: write \\< instead of <")
        if token.type == "image":
            raise ValueError(f"text has a picture in it, {token.content!r}: pass it to figure")
    return markdown


def _escaped(text: str) -> str:
    """Return plain text as one line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~&!])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Return text as a fenced block of Markdown."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}console\n$ {text}\n{fence}"


def _cell(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 60.0:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
