from __future__ import annotations

import pytest

versions = pytest.importorskip("versions")  # tools/versions.py


def test_of_each_version_the_last_release_and_the_newest_first():
    tags = ["v0.9.1", "v0.10.0", "v0.9.12", "v0.9.2", "v1.0.0rc1", "v0.10.1a2", "last", "v0.1.0"]
    assert versions.newest(tags) == {"0.10": "v0.10.0", "0.9": "v0.9.12", "0.1": "v0.1.0"}
    assert list(versions.newest(tags, most=2)) == ["0.10", "0.9"]
    assert versions.newest([]) == {}


def test_what_readers_choose_from():
    found = versions.switcher({"0.10": "v0.10.0", "0.9": "v0.9.12"}, "https://example.org/kflow")
    assert [entry["url"] for entry in found] == [
        "https://example.org/kflow/0.10/",
        "https://example.org/kflow/0.9/",
    ]
    assert [entry["version"] for entry in found] == ["0.10.0", "0.9.12"]
    assert [entry["preferred"] for entry in found] == [True, False]
    assert 'href="0.10/"' in versions.front_page("0.10")
