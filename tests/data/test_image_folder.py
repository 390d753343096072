from __future__ import annotations

import contextlib
import io
import os
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kflow.data import image_folder
from kflow.data.image_folder import read_image_folder
from kflow.datasets import load_image_folder
from kflow.errors import StorageError

Image = pytest.importorskip("PIL.Image")


def encoded(pixels, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


@pytest.fixture
def pictures(rng):
    """Names and pixels: two classes, ten images of each."""
    return {
        f"{name}/{number}.png": rng.integers(0, 256, (6, 5), np.uint8)
        for name in ("cat", "dog")
        for number in range(10)
    }


@pytest.fixture(params=["folder", "zip"])
def write(request, tmp_path):
    """Write files by name into a folder or a ZIP file; return its path."""

    def write(files):
        path = tmp_path / f"images.{request.param}"
        if request.param == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return path
        for name, content in files.items():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return path

    return write


def test_folders_are_classes(write, pictures):
    path = write({name: encoded(pixels) for name, pixels in pictures.items()})
    read = read_image_folder(path)
    assert read.names == tuple(sorted(pictures))
    for name, image in zip(read.names, read.images, strict=True):
        np.testing.assert_array_equal(image, pictures[name])
    data = load_image_folder(path)
    assert data.image_shape == (6, 5)
    assert (len(data.y_train), len(data.y_test)) == (16, 4)
    assert set(data.y_test) == {"cat", "dog"}
    assert data.X_train.dtype == np.float32


def test_parts_that_are_given(write, pictures):
    files = {f"train/{name}": encoded(pixels) for name, pixels in pictures.items()}
    files["test/dog/0.jpg"] = encoded(pictures["dog/0.png"], "JPEG")
    data = load_image_folder(write(files))
    assert (len(data.y_train), data.y_test.tolist()) == (20, ["dog"])


def test_colours(write, rng):
    grey, colour = rng.integers(0, 256, (4, 4), np.uint8), rng.integers(0, 256, (4, 4, 3), np.uint8)
    read = read_image_folder(write({"a/1.png": encoded(grey), "a/2.PNG": encoded(colour)}))
    np.testing.assert_array_equal(read.images[0], np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(read.images[1], colour)


def test_other_files(write, pictures):
    good = encoded(pictures["cat/0.png"])
    files = {"a/1.png": good, "a/notes.txt": b"", ".hidden/2.png": b"", "__MACOSX/a/1.png": b""}
    read = read_image_folder(write(files))
    assert (read.names, read.n_ignored) == (("a/1.png",), 1)


def test_other_files_are_told(write, pictures):
    files = {name: encoded(pixels) for name, pixels in pictures.items()}
    path = write({**files, "notes.txt": b""})
    with pytest.warns(UserWarning, match=r"1 files are no \.png or \.jpg files"):
        assert len(load_image_folder(path).y_train) == 16


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/1.txt": b""}, "holds no .png or .jpg files"),
        ({"a/1.png": b"no picture"}, "a/1.png cannot be read as PNG or JPEG"),
        ({"a/1.png": (4, 4), "b/2.png": (4, 5)}, "has 4 x 4 pixels, and b/2.png 4 x 5"),
    ],
)
def test_refusals(write, files, message):
    contents = {
        name: encoded(np.zeros(value, np.uint8)) if isinstance(value, tuple) else value
        for name, value in files.items()
    }
    with pytest.raises(ValueError, match=message):
        read_image_folder(write(contents))


def test_images_without_a_class(write):
    with pytest.raises(ValueError, match=r"1.png lies in no subfolder"):
        load_image_folder(write({"1.png": encoded(np.zeros((3, 3), np.uint8))}))


def test_large_files_and_images_are_not_decoded(write, monkeypatch):
    path = write({"a/1.png": encoded(np.zeros((30, 30), np.uint8))})
    monkeypatch.setattr(image_folder, "_MOST_PIXELS", 899)
    with pytest.raises(ValueError, match="30 x 30 pixels"):
        read_image_folder(path)
    monkeypatch.setattr(image_folder, "_MOST_BYTES", 20)
    with pytest.raises(ValueError, match="it is no small image"):
        read_image_folder(path)


def test_damaged_archives(tmp_path, rng):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", encoded(rng.integers(0, 256, (8, 8), np.uint8)))
    good = path.read_bytes()
    for place in range(0, len(good), 3):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):  # and nothing else
            read_image_folder(path)


def test_sixteen_bits_are_not_cut_off(write):
    pixels = np.array([[0, 255, 256, 1000], [30000, 40000, 65535, 128]], np.uint16)
    read = read_image_folder(write({"a/1.png": encoded(pixels)}))
    np.testing.assert_array_equal(read.images[0], pixels >> 8)


def test_transparent_palettes_do_not_warn(write):
    file = io.BytesIO()
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    picture.save(file, "PNG", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image_folder(write({"a/1.png": file.getvalue()}))
    np.testing.assert_array_equal(read.images[0, ..., 0], np.arange(16).reshape(4, 4))


def test_images_that_exceed_the_memory(write, monkeypatch):
    files = {f"a/{n}.png": encoded(np.zeros((30, 30), np.uint8)) for n in range(9)}
    files["b/1.png"] = encoded(np.zeros((30, 30, 3), np.uint8))
    path = write(files)
    monkeypatch.setattr(image_folder, "available_memory", lambda: 5 * 10 * 30 * 30 * 3 - 1)
    with pytest.raises(StorageError, match=r"10 images of 30 x 30 x 3 need .* fewer or smaller"):
        read_image_folder(path)
    monkeypatch.setattr(image_folder, "available_memory", lambda: 5 * 10 * 30 * 30 * 3)
    assert read_image_folder(path).images.shape == (10, 30, 30, 3)


def zip_of(path, names, content):
    """Write an archive of the same content under several names, in which % stands for NUL."""
    assert b"%" not in content
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for name in names:
            archive.writestr(name, content)
    path.write_bytes(path.read_bytes().replace(b"%", b"\0"))
    return path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.png", "a/1.png"], "two of its files have one name"),
        (["a/1.png", "a/1.png%b/2.png"], "two of its files have one name"),  # it ends with NUL
        (["a/1.png", f"{'b' * 256}/1.png"], "the name .* is too long or no plain text"),
        (["a/1\n.png"], "the name 'a/1.*png' is too long or no plain text"),
        (["../../a/1.png"], "holds no .png or .jpg files"),
        (["%"], "holds no .png or .jpg files"),
    ],
)
def test_names_in_an_archive(tmp_path, names, message):
    path = zip_of(tmp_path / "images.zip", names, encoded(np.zeros((4, 4), np.uint8)))
    with pytest.raises(ValueError, match=message):
        read_image_folder(path)


def test_files_of_an_archive_that_overlap(tmp_path):
    path = zip_of(tmp_path / "images.zip", [f"a/{n}.png" for n in range(9)], bytes(999))
    with zipfile.ZipFile(path, "a") as archive:
        for info in archive.infolist():
            info.compress_size *= 2
        archive.writestr("notes.txt", "")  # so that the directory is written again
    with pytest.raises(ValueError, match="its files overlap"):
        read_image_folder(path)


def test_links_in_an_archive_lead_nowhere(tmp_path):
    (tmp_path / "secret.png").write_bytes(encoded(np.zeros((4, 4), np.uint8)))
    link = zipfile.ZipInfo("a/1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "secret.png"))
    with pytest.raises(ValueError, match="cannot be read as PNG or JPEG"):
        read_image_folder(tmp_path / "images.zip")


def test_links_and_pipes_in_a_folder(tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(np.zeros((4, 4), np.uint8)))
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True)
    (folder / "1.png").symlink_to(picture)
    (folder / "round").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(tmp_path / "missing")
    os.mkfifo(folder / "pipe.png")
    assert read_image_folder(tmp_path / "images").names == ("a/1.png",)
    with pytest.raises(ValueError, match="is a device or a pipe"):
        read_image_folder(folder / "pipe.png")


def test_names_that_are_no_text(tmp_path):
    (tmp_path / "a").mkdir()
    for name in (b"1\xff.png", b"1\n.png"):
        file = Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/" + name))
        file.write_bytes(encoded(np.zeros((4, 4), np.uint8)))
        with pytest.raises(ValueError, match=r"rename 'a/1.*png'"):
            read_image_folder(tmp_path)
        file.unlink()


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_folders_that_cannot_be_read_are_not_left_out(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(encoded(np.zeros((4, 4), np.uint8)))
    (tmp_path / "b").mkdir(mode=0)
    with pytest.raises(PermissionError):
        read_image_folder(tmp_path)
