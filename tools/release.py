#!/usr/bin/env python3
"""Cut a release, or check that a tag is one.

    tools/release.py cut 1.2.3      the version everywhere, and the changelog's section with today's date
    tools/release.py check          whether all files agree, and with the tag GITHUB_REF_NAME if there is one
    tools/release.py notes          the changelog's section of the version, for the release's page

docs/releasing.md says what comes before and after. Python's standard library is enough.
"""

from __future__ import annotations

import datetime
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
# Where the version stands: a file, and what is before it in its line.
PLACES = {
    "pyproject.toml": 'version = "',
    "CITATION.cff": "version: ",
    "tools/conda/recipe.yaml": '  version: "',
}
UNRELEASED = "## [Unreleased]\n"


def place(root: Path, name: str) -> re.Match[str]:
    """Return where a file has the version of this package."""
    pattern = re.compile(rf"^{re.escape(PLACES[name])}({VERSION.pattern})", re.MULTILINE)
    found = pattern.search((root / name).read_text("utf-8"))
    if found is None:
        raise SystemExit(f"{name} has no line that begins with {PLACES[name]!r} and a version")
    return found


def section(root: Path, version: str) -> str:
    """Return what the changelog says of a version; nothing if it has no section of it."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    head = re.compile(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n", re.MULTILINE)
    found = head.search(text)
    if found is None:
        return ""
    return text[found.end() :].partition("\n## [")[0].strip()


def check(root: Path, tag: str) -> list[str]:
    """Return what is wrong with the version of a release; a tag may be empty."""
    versions = {name: place(root, name).group(1) for name in PLACES}
    version = versions["pyproject.toml"]
    faults = [f"{name} says {other}" for name, other in versions.items() if other != version]
    if tag:
        if tag != f"v{version}":
            faults.append(f"the tag is {tag}, and the version {version}")
        if not section(root, version):
            faults.append(f"CHANGELOG.md has no section of {version}, or an empty one")
    return faults


def cut(root: Path, version: str, today: datetime.date) -> None:
    """Write the version to all places, and give the changelog's unreleased part its name."""
    if not VERSION.fullmatch(version):
        raise SystemExit(f"a version is 1.2.3, or 1.2.3rc1, got {version!r}")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    if UNRELEASED not in text or section(root, version):
        raise SystemExit(f"CHANGELOG.md has no unreleased part, or {version} already")
    found = {name: place(root, name) for name in PLACES}
    for name, match in found.items():
        start, end = match.span(1)
        (root / name).write_text(match.string[:start] + version + match.string[end:], "utf-8")
    head = f"{UNRELEASED}\n## [{version}] - {today.isoformat()}\n"
    changelog.write_text(text.replace(UNRELEASED, head), "utf-8")


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    match arguments:
        case ["cut", version]:
            cut(ROOT, version, datetime.date.today())
        case ["check"]:
            tag = os.environ.get("GITHUB_REF_NAME", "")
            faults = check(ROOT, tag if os.environ.get("GITHUB_REF_TYPE") == "tag" else "")
            if faults:
                raise SystemExit("\n".join(faults))
        case ["notes"]:
            print(section(ROOT, place(ROOT, "pyproject.toml").group(1)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
