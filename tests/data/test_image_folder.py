from __future__ import annotations

import contextlib
import io
import zipfile

import numpy as np
import pytest

from kflow.data import image_folder
from kflow.data.image_folder import read_image_folder
from kflow.datasets import load_image_folder

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
