"""Images in a folder or a ZIP file, one subfolder for each class: the layout of image libraries.

A ZIP file is read where it is: nothing is unpacked onto the disk, and no name in it is a path here.
Only PNG and JPEG are decoded, by Pillow, after their headers have told the size of the image.
"""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import category

import numpy as np
import numpy.typing as npt

from kflow._base.memory import available_memory, gigabytes
from kflow.errors import StorageError

__all__ = ["ImageFolder", "read_image_folder"]

_ENDINGS = (".png", ".jpg", ".jpeg")

# A file that is longer, or an image that is larger, is no picture of a data set.
_MOST_BYTES = 2**26
_MOST_PIXELS = 2**22

# What a part of a file's name can have on a disk: in an archive it can be longer.
_MOST_CHARACTERS = 255


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

    Hidden files and folders, whose names begin with a dot or with ``__``, do not count. Links in a folder
    are followed to files, not to folders. Of 16 bits for each colour the upper eight are taken; how
    transparent a pixel is does not matter.

    Raises
    ------
    ImportError
        If Pillow is missing.
    OSError
        If a file or a folder cannot be read.
    StorageError
        If the images, as float32, exceed the memory.
    ValueError
        If there are no images, if one is damaged or too large, or if they have different sizes.
    """
    with _opened(path) as (names, read):
        chosen = sorted(name for name in names if name.lower().endswith(_ENDINGS))
        if not chosen:
            raise ValueError(f"{path} holds no .png or .jpg files")
        decoded = (_decoded(f"{path}: {name}", read(name)) for name in chosen)
        images = _stacked(path, chosen, decoded)
    return ImageFolder(tuple(chosen), images, len(names) - len(chosen))


def _stacked(
    path: Path, names: Sequence[str], images: Iterator[npt.NDArray[np.uint8]]
) -> npt.NDArray[np.uint8]:
    """Return images of one size as one array, in colour if one of them is."""
    first = next(images)
    stacked = _room(path, (len(names), *first.shape))
    for number, image in enumerate(chain([first], images)):
        if image.shape[:2] != first.shape[:2]:
            raise ValueError(
                f"{path}: {names[0]} has {first.shape[0]} x {first.shape[1]} pixels, and "
                f"{names[number]} {image.shape[0]} x {image.shape[1]}: bring all images to one size "
                "first"
            )
        if image.ndim == stacked.ndim:  # the first one in colour
            grey, stacked = stacked, _room(path, (len(names), *image.shape))
            stacked[:number] = grey[:number, :, :, None]
        stacked[number] = image if image.ndim == stacked.ndim - 1 else image[:, :, None]
    return stacked


def _room(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return an array of a shape, if there is memory for it and for its pixels as float32."""
    need, available = 5 * math.prod(shape), available_memory()
    if need > available:
        raise StorageError(
            f"{path}: {shape[0]} images of {' x '.join(map(str, shape[1:]))} need {gigabytes(need)} of "
            f"memory, where {gigabytes(available)} are free: pass fewer or smaller images"
        )
    return np.empty(shape, np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Sequence[str], Callable[[str], bytes]]]:
    """Yield the names of the files in a folder or a ZIP file, and what reads one."""
    if path.is_dir():
        yield _names_in(path), lambda name: _bounded(path / name)
        return
    if not stat.S_ISREG(path.stat().st_mode):  # reading one may never end
        raise ValueError(f"{path} is a device or a pipe: pass a folder or a ZIP file")
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # zipfile raises nearly anything for a damaged directory
            raise ValueError(f"{path} is no ZIP file, or it is damaged: {error}") from None
        members = _members(path, archive)

        def read(name: str) -> bytes:
            try:
                with archive.open(members[name]) as member:
                    return _limited(member.read(_MOST_BYTES + 1), name)
            except MemoryError:
                raise StorageError(f"{path}: {name}: there is no memory left to read it") from None
            except Exception as error:  # as above
                raise ValueError(f"{path}: {name} is damaged: {error}") from None

        yield list(members), read


def _names_in(path: Path) -> list[str]:
    """Return the names of the files in a folder and its subfolders, within that folder."""

    def fail(error: OSError) -> None:
        raise error

    files = (
        Path(folder, name) for folder, _, names in os.walk(path, onerror=fail) for name in names
    )
    relative = (file.relative_to(path).as_posix() for file in files if file.is_file())
    names = [name for name in relative if _counts(name)]
    for name in names:
        if not _is_text(name):  # such a name is no class, and spoils what is written of it
            raise ValueError(f"{path}: rename {name!r}, which is no plain text")
    return names


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive that count, by name, none of which is there twice."""
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    members = {info.filename: info for info in infos if _counts(info.filename)}
    if sum(map(_counts, (info.filename for info in infos))) > len(members):
        raise ValueError(f"{path} is damaged or foreign: two of its files have one name")
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise ValueError(f"{path} is damaged or foreign: its files overlap")
    for name in members:
        if not _is_text(name) or max(map(len, name.split("/"))) > _MOST_CHARACTERS:
            raise ValueError(
                f"{path} is damaged or foreign: the name {name[:80]!r} is too long or no plain text"
            )
    return members


def _counts(name: str) -> bool:
    return not any(part.startswith((".", "__")) for part in PurePosixPath(name).parts)


def _is_text(name: str) -> bool:
    """Return whether a name has no control characters, and no bytes that are no UTF-8."""
    return not any(category(character) in ("Cc", "Cs") for character in name)


def _bounded(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return _limited(opened.read(_MOST_BYTES + 1), str(file))


def _limited(content: bytes, name: str) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{name} has more than {_MOST_BYTES // 2**20} MB: it is no small image")
    return content


def _decoded(name: str, content: bytes) -> npt.NDArray[np.uint8]:
    open_image = _pillow().open
    try:
        with open_image(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height > _MOST_PIXELS:
                raise ValueError(f"it has {height} x {width} pixels, more than {_MOST_PIXELS}")
            return _pixels(picture)
    except MemoryError:
        raise StorageError(f"{name}: there is no memory left to decode it") from None
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        raise ValueError(f"{name} cannot be read as PNG or JPEG: {error}") from None


def _pixels(picture: Any) -> npt.NDArray[np.uint8]:
    if picture.mode in ("I", "I;16"):  # Pillow would cut all values off at 255
        return (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
    if picture.mode == "P":  # else Pillow warns of colours that are transparent
        picture = picture.convert("RGBA")
    is_grey = picture.mode in ("1", "L", "LA")
    return np.asarray(picture.convert("L" if is_grey else "RGB"), np.uint8)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("image files need Pillow: pip install 'kflow[images]'") from None
    return Image
