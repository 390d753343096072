"""Files that are written as a whole or not at all, and checks of the folders for them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
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

    A symbolic link stays, and what it leads to is replaced. The permissions of an earlier file stay.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched. Devices and
        pipes are refused.
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    partial = target.with_name(f"{target.name}{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            if mode is not None:
                os.chmod(partial, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _mode_of(target: Path) -> int | None:
    """Return the permissions of a file, or None if there is none."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder os.replace says what is wrong
        raise OSError(
            errno.EINVAL, "it is a device or a pipe: pass the name of a file", str(target)
        )
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else None


def _sync_folder(folder: Path) -> None:
    """Write the list of a folder's files to the disk, if the file system can do so."""
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
    """Check before the work that a folder can hold its result; make the folder if it is missing.

    Parameters
    ----------
    folder : Path
        Where the result is going to be.
    n_bytes : int
        Number of bytes that the result takes at most.
    remedy : str
        What to do if the folder cannot hold the result, for the error.
    files, folders : sequence of str
        Names of the files that will be written to `folder`, and of the folders that will be made
        in it.

    Raises
    ------
    OSError
        If `folder` cannot be made or written to, if a folder has the name of one of `files`, or if
        a file has the name of one of `folders`.
    StorageError
        If fewer than `n_bytes` bytes are free.
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
        except OSError as error:  # its message names the temporary file
            raise OSError(error.errno, error.strerror, str(place)) from None
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise StorageError(
            f"the output needs {n_bytes / 1e9:.3g} GB, where {folder} has {free / 1e9:.3g} GB free: "
            f"{remedy}"
        )


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder and its parents if the block fails, where they were missing and are empty."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in missing:  # from the innermost outwards
            with suppress(OSError):  # it is not empty, or it was not made
                place.rmdir()
        raise
