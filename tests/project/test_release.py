from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
release = pytest.importorskip("release")  # tools/release.py

pytestmark = pytest.mark.skipif(not (ROOT / "CITATION.cff").is_file(), reason="without the sources")


@pytest.fixture
def root(tmp_path):
    for name in (*release.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_files_here_agree():
    assert release.check(ROOT, "") == []


def test_a_cut_is_what_its_tag_says(root):
    before = (root / "CHANGELOG.md").read_text("utf-8")
    release.cut(root, "9.8.7", datetime.date(2027, 1, 2))
    assert release.check(root, "v9.8.7") == []
    text = (root / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]\n\n## [9.8.7] - 2027-01-02\n" in text
    assert text.replace("\n## [9.8.7] - 2027-01-02\n", "") == before
    assert release.section(root, "9.8.7").startswith("### ")
    # The next one has nothing to say yet.
    release.cut(root, "9.8.8", datetime.date(2027, 1, 3))
    assert "no section of 9.8.8" in release.check(root, "v9.8.8")[0]


def test_faults_are_named(root):
    assert "the tag is v0.0.1" in release.check(root, "v0.0.1")[0]
    citation = root / "CITATION.cff"
    citation.write_text(citation.read_text("utf-8").replace("\nversion: ", "\nversion: 8"), "utf-8")
    assert "CITATION.cff says 8" in release.check(root, "")[0]
    for bad in ("1.2", "v1.2.3", "1.2.3.dev0"):
        with pytest.raises(SystemExit, match=r"a version is 1\.2\.3"):
            release.cut(root, bad, datetime.date(2027, 1, 2))
