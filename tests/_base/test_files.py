from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from kflow import StorageError
from kflow._base.files import check_folder, removed_if_empty, replacing


def test_a_folder_that_can_take_the_result_is_made_and_left_empty(tmp_path):
    check_folder(tmp_path / "a" / "b", 1, "?", files=("c",), folders=("d",))
    check_folder(tmp_path / "a" / "b", 1, "?", files=("c",), folders=("d",))
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_what_is_in_the_way_of_the_result_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    check_folder(tmp_path, 1, "?", files=("file",), folders=("folder",))
    with pytest.raises(IsADirectoryError, match=r"folder is a folder: pass another$"):
        check_folder(tmp_path, 1, "pass another", files=("file", "folder"))
    with pytest.raises(NotADirectoryError, match=r"file is not a folder: pass another$"):
        check_folder(tmp_path, 1, "pass another", folders=("folder", "file"))
    with pytest.raises(FileExistsError):
        check_folder(tmp_path / "file", 1, "?")


@pytest.mark.parametrize("locked", ["", "folder"])
def test_folders_that_cannot_be_written_to_are_named(locked, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    temporary = tempfile.TemporaryFile

    def refused(*, dir):  # noqa: A002 - permissions do not bind root
        if dir == tmp_path / locked:
            raise PermissionError(13, os.strerror(13), str(dir / "tmp1234"))
        return temporary(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(PermissionError) as failure:
        check_folder(tmp_path, 1, "?", folders=("folder",))
    assert failure.value.filename == str(tmp_path / locked)


def test_too_little_room(tmp_path):
    with pytest.raises(StorageError, match=r"needs 4\.61e\+09 GB, where .* GB free: pass another$"):
        check_folder(tmp_path, 2**62, "pass another")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("made", "left"), [((), set()), (("a/b/",), set()), (("a/b/", "a/c"), {"a", "c"})]
)
def test_new_folders_go_if_nothing_has_come_into_them(made, left, error, tmp_path):
    def fail():
        for name in made:
            place = tmp_path / name
            place.mkdir(parents=True) if name.endswith("/") else place.touch()
        raise error

    with pytest.raises(error), removed_if_empty(tmp_path / "a" / "b"):
        fail()
    assert {path.name for path in tmp_path.rglob("*")} == left


def test_folders_stay_that_were_there_or_whose_block_succeeds(tmp_path):
    with pytest.raises(ValueError, match="bad"), removed_if_empty(tmp_path):
        raise ValueError("bad")
    with removed_if_empty(tmp_path / "a"):
        (tmp_path / "a").mkdir()
    assert (tmp_path / "a").is_dir()


def write(path, content):
    with replacing(path) as file:
        file.write(content)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    real = tmp_path / "folder" / "real"
    real.write_bytes(b"old")
    (tmp_path / "link").symlink_to(real)
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to(tmp_path / "folder" / "other")
    write(tmp_path / "dangling", b"first")
    assert (tmp_path / "folder" / "other").read_bytes() == b"first"


def test_a_device_or_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        before = path.stat().st_mode
        with pytest.raises(OSError, match="a device or a pipe") as raised:
            write(path, b"new")
        assert raised.value.filename == str(path)
        assert path.stat().st_mode == before
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_stay(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path, b"new")
    assert path.stat().st_mode & 0o777 == mode
    umask = os.umask(0o027)
    try:
        write(tmp_path / "fresh", b"new")
    finally:
        os.umask(umask)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["open", "chmod", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, monkeypatch, call):
    """Each system call on the way fails in turn."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path if call == "open" else os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
