"""Images in a folder or a ZIP file, one subfolder for each class: the layout of image libraries.

A ZIP file is read where it is: nothing is unpacked onto the disk, and no name in it is a path here.
Only PNG and JPEG are decoded, by Pillow, after their headers have told the size of the image.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ImageFolder", "read_image_folder"]

_ENDINGS = (".png", ".jpg", ".jpeg")

# A file that is longer, or an image that is larger, is no picture of a data set.
_MOST_BYTES = 2**26
_MOST_PIXELS = 2**22


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images of one size, in the order of their names.

    Attributes
    ----------
    names : tuple of str
        The names of the files, within the folder.
    images : ndarray of uint8, shape (n, height, width) or (n, height, width, 3)
        The images: in grey if all files are, else in colour.
    n_ignored : int
        How many other files there are.
    """

    names: tuple[str, ...]
    images: npt.NDArray[np.uint8]
    n_ignored: int


def read_image_folder(path: Path) -> ImageFolder:
    """Read all PNG and JPEG files of a folder and its subfolders, or of a ZIP file.

    Hidden files and folders, whose names begin with a dot or with ``__``, do not count.

    Raises
    ------
    ImportError
        If Pillow is missing.
    OSError
        If a file cannot be read.
    ValueError
        If there are no images, if one is damaged or too large, or if they have different sizes.
    """
    with _opened(path) as (names, read):
        chosen = sorted(name for name in names if name.lower().endswith(_ENDINGS))
        if not chosen:
            raise ValueError(f"{path} holds no .png or .jpg files")
        images = [_decoded(f"{path}: {name}", read(name)) for name in chosen]
    size = images[0].shape[:2]
    for name, image in zip(chosen, images, strict=True):
        if image.shape[:2] != size:
            raise ValueError(
                f"{path}: {chosen[0]} has {size[0]} x {size[1]} pixels, and {name} "
                f"{image.shape[0]} x {image.shape[1]}: bring all images to one size first"
            )
    if any(image.ndim == 3 for image in images):
        images = [
            image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
            for image in images
        ]
    return ImageFolder(tuple(chosen), np.stack(images), len(names) - len(chosen))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Sequence[str], Callable[[str], bytes]]]:
    """Yield the names of the files in a folder or a ZIP file, and what reads one."""
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        relative = [file.relative_to(path).as_posix() for file in files]
        yield [name for name in relative if _counts(name)], lambda name: _bounded(path / name)
        return
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is no ZIP file, or it is damaged: {error}") from None
    with archive:
        members = {
            member.filename: member
            for member in archive.infolist()
            if not member.is_dir() and _counts(member.filename)
        }

        def read(name: str) -> bytes:
            try:
                with archive.open(members[name]) as file:
                    return _limited(file.read(_MOST_BYTES + 1), name)
            except Exception as error:  # zipfile raises nearly anything for a damaged file
                raise ValueError(f"{path}: {name} is damaged: {error}") from None

        yield list(members), read


def _counts(name: str) -> bool:
    return not any(part.startswith((".", "__")) for part in PurePosixPath(name).parts)


def _bounded(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return _limited(opened.read(_MOST_BYTES + 1), str(file))


def _limited(content: bytes, name: str) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{name} has more than {_MOST_BYTES // 2**20} MB: it is no small image")
    return content


def _decoded(name: str, content: bytes) -> npt.NDArray[np.uint8]:
    image = _pillow().open
    try:
        with image(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height > _MOST_PIXELS:
                raise ValueError(f"it has {height} x {width} pixels, more than {_MOST_PIXELS}")
            is_grey = picture.mode in ("1", "L", "LA", "I", "I;16")
            return np.asarray(picture.convert("L" if is_grey else "RGB"), np.uint8)
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        raise ValueError(f"{name} cannot be read as PNG or JPEG: {error}") from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("image files need Pillow: pip install 'kflow[images]'") from None
    return Image
