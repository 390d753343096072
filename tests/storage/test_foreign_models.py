"""Model files that `save` did not write: what is missing, unknown, doubled, compressed or overlong."""

from __future__ import annotations

import io
import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow import ModelFileError
from kflow.storage.model_file import ModelReader, write_model

OLD = Path(__file__).parents[1] / "fixtures" / "version-1"


@pytest.fixture
def gp(rng, tmp_path):
    X = 3 * rng.normal(size=(20, 2)) + 5
    model = kflow.GPRegressor(learn=None, random_state=0).fit(X, X[:, 0])
    model.save(tmp_path / "gp.kflow")
    return tmp_path / "gp.kflow"


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def write(path, members, compression=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of a name that comes twice
        for name, content in members:
            archive.writestr(name, content)


def with_header(members, change):
    header = json.loads(dict(members)["model.json"])
    change(header)
    return [(n, json.dumps(header).encode() if n == "model.json" else c) for n, c in members]


def test_the_header_lists_all_members_and_comes_last(gp):
    members = members_of(gp)
    header = json.loads(members[-1][1])
    assert [*header["members"], "model.json"] == [name for name, _ in members]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("new", [None, "qreprocessing_mean.npy", "spare.npy", "model.jsoo"])
def test_a_member_that_is_missing_or_unknown(gp, version, new):
    members = with_header(members_of(gp), lambda header: header.update(version=version))
    old = "model.json" if new == "model.jsoo" else "preprocessing_mean.npy"
    if new == "spare.npy":
        members.append((new, dict(members)[old]))
    elif new is None and version == 4:
        pytest.skip("files of version 4 do not say which members they have")
    else:
        members = [(new if name == old else name, content) for name, content in members]
        members = [member for member in members if member[0] is not None]
    write(gp, members)
    with pytest.raises(ModelFileError, match=str(gp)):
        kflow.load(gp)


def test_a_flipped_bit_in_a_name_gives_no_other_model(gp):
    X = np.linspace(0, 9, 10).reshape(5, 2)
    expected, raw = kflow.load(gp).predict(X), gp.read_bytes()
    n_refused = 0
    start = raw.rindex(b"preprocessing_mean.npy")
    for bit in range(8 * start, 8 * (start + len("preprocessing_mean.npy"))):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        gp.write_bytes(flipped)
        try:
            np.testing.assert_array_equal(kflow.load(gp).predict(X), expected)
        except ModelFileError:
            n_refused += 1
    assert n_refused == 8 * len("preprocessing_mean.npy")


def test_members_that_are_compressed(gp):
    write(gp, members_of(gp), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match="compresses nothing"):
        kflow.load(gp)


def test_a_member_that_comes_twice(gp):
    members = members_of(gp)
    write(gp, [*members, members[0]])
    with pytest.raises(ModelFileError, match="two members have one name"):
        kflow.load(gp)


def test_members_that_overlap(tmp_path, monkeypatch):
    write_model(tmp_path / "model", "Thing", {}, [("a", np.ones(1000)), ("b", np.ones(1))])
    infolist = zipfile.ZipFile.infolist

    def long(archive):
        for member in infolist(archive):
            member.file_size = member.compress_size = max(member.file_size, 8000)
        return infolist(archive)

    monkeypatch.setattr(zipfile.ZipFile, "infolist", long)
    with pytest.raises(ModelFileError, match="overlap"):
        ModelReader(tmp_path / "model")


def test_an_array_of_another_size_than_its_header_says(gp, monkeypatch):
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was read"))
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 2)}
    )
    members = [(n, content.getvalue() if n == "points.npy" else c) for n, c in members_of(gp)]
    write(gp, members)
    with (
        pytest.raises(
            ModelFileError, match=r"less data: 0 bytes for the shape \(1000000000000, 2\)"
        ),
        ModelReader(gp) as reader,
    ):
        reader.array("points")


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_threads", 512), ("checkpoint", "somewhere"), ("callbacks", []), ("progress", True)],
)
@pytest.mark.parametrize("file", ["gp.kflow", "classifier.kflow"])
def test_what_belongs_to_the_machine_is_refused(tmp_path, name, value, file):
    shutil.copy(OLD / file, tmp_path)
    members = members_of(tmp_path / file)
    change = lambda header: header["settings"]["parameters"].update({name: value})  # noqa: E731
    write(tmp_path / file, with_header(members, change))
    with pytest.raises(ModelFileError, match=f"no file holds the parameter {name}"):
        kflow.load(tmp_path / file)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ModelFileError, match=f"{path} is a device or a pipe"):
            kflow.load(path)
    with pytest.raises(FileNotFoundError):
        kflow.load(tmp_path / "none")
