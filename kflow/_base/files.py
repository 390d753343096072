"""Files that are there as a whole or not at all, and folders that will take them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kflow.errors import StorageError

__all__ = ["check_folder", "removed_if_empty", "replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the place of `path` once it is complete and on the disk.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_folder(
    folder: Path,
    n_bytes: int,
    remedy: str,
    *,
    files: Sequence[str] = (),
    folders: Sequence[str] = (),
) -> None:
    """Find out before the work whether a folder can take its result; make it if it is missing.

    Parameters
    ----------
    folder : Path
        Where the result is going to be.
    n_bytes : int
        What it takes at most.
    remedy : str
        What to do if it cannot, for the error.
    files, folders : sequence of str
        What will be written to `folder`, and made in it.

    Raises
    ------
    OSError
        If `folder` cannot be made or written to, or if a folder has the name of one of `files`, or a
        file that of one of `folders`.
    StorageError
        If there are fewer than `n_bytes` free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name} is a folder: {remedy}")
    there = [folder / name for name in folders if (folder / name).exists()]
    for place in (folder, *there):
        if not place.is_dir():
            raise NotADirectoryError(f"{place} is not a folder: {remedy}")
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:  # which names the temporary file
            raise OSError(error.errno, error.strerror, str(place)) from None
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise StorageError(
            f"the output needs {n_bytes / 1e9:.3g} GB, where {folder} has {free / 1e9:.3g} GB free: "
            f"{remedy}"
        )


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder that was missing, and those above it, if the block fails with nothing in them."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in missing:  # from the innermost outwards
            with suppress(OSError):  # there is something in it, or it was not made
                place.rmdir()
        raise
