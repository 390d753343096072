#!/usr/bin/env python3
"""Build the documentation of all versions as one site.

    tools/versions.py FOLDER URL        the site in FOLDER, which will be at URL

Of each of the newest versions of the form 1.2 the last release, in FOLDER/1.2, built from its tag by its own
`./dev docs`; the first page leads to the newest. Each page lets readers choose another version. Without a tag
it is the site of what is checked out. Python's standard library and Git are enough.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
MOST = 4


def newest(tags: Iterable[str], most: int = MOST) -> dict[str, str]:
    """Return the tags of the last releases of the newest versions, by versions, the newest first."""
    found = [
        (tuple(map(int, match.groups())), tag) for tag in tags if (match := TAG.fullmatch(tag))
    ]
    last = {f"{first}.{second}": tag for (first, second, _), tag in sorted(found)}
    return dict(list(last.items())[::-1][:most])


def switcher(tags: dict[str, str], url: str) -> list[dict[str, str | bool]]:
    """Return what pydata-sphinx-theme's version switcher reads: names, releases and addresses."""
    return [
        {
            "name": version,
            "version": tag.removeprefix("v"),
            "url": f"{url}/{version}/",
            "preferred": n == 0,
        }
        for n, (version, tag) in enumerate(tags.items())
    ]


def front_page(version: str) -> str:
    """Return a page that leads to a version."""
    return (
        '<!doctype html><meta charset="utf-8"><title>kflow</title>'
        f'<meta http-equiv="refresh" content="0; url={version}/"><a href="{version}/">kflow</a>\n'
    )


def build(root: Path, tag: str, url: str, target: Path) -> None:
    """Build the documentation of a tag into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kflow")
        subprocess.run(
            ["git", "worktree", "add", "-q", "--detach", source, tag], cwd=root, check=True
        )
        try:
            environment = {**os.environ, "KFLOW_DOCS_SITE": url}
            subprocess.run(["./dev", "docs"], cwd=source, env=environment, check=True)
            shutil.move(source / "build" / "site", target)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", source], cwd=root, check=True)


def main(folder: Path, url: str) -> None:
    """Build the site."""
    listed = subprocess.run(
        ["git", "tag", "--list", "v*"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    tags = newest(listed.stdout.split()) or {"latest": "HEAD"}
    folder.mkdir(parents=True)
    for version, tag in tags.items():
        build(ROOT, tag, url, folder / version)
    (folder / "versions.json").write_text(json.dumps(switcher(tags, url), indent=1) + "\n")
    (folder / "index.html").write_text(front_page(next(iter(tags))))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2].rstrip("/"))
