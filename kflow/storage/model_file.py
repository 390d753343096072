"""Model files: a ZIP of .npy arrays, blocks of layers and one JSON text, readable with NumPy alone.

Nothing in a file is executed: arrays are read with ``allow_pickle=False``. ZIP's checksums reveal
damage. Files are written beside their final name and moved there when complete, so that a full disk
or a crash leaves an earlier file as it was.

The JSON text comes last and lists all other members. A file in which one is missing, unknown, there
twice, compressed, or of no use to its model is refused, since it would be read as another model. No
member takes more memory than it has bytes in the file.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.files import replacing
from kflow._base.npy import read_array
from kflow.errors import ModelFileError, damaged

__all__ = ["ModelReader", "write_model"]

_FORMAT = "kflow-model"
# Version 1 had one shape for all layers, version 2 had the steps multiplied into the coefficients,
# and version 3 had an array for each layer. No release wrote them. Version 4 had no list of the
# members, and is still read.
_VERSION = 5
_OLDEST = 4

_HEADER = "model.json"


def write_model(
    path: str | os.PathLike[str],
    kind: str,
    settings: dict[str, Any],
    parts: Iterable[tuple[str, npt.NDArray[Any] | bytes]],
) -> None:
    """Write a model file, atomically.

    Parameters
    ----------
    path : path
        The file; replaced if it exists.
    kind : str
        What the file holds, such as "KernelFlow".
    settings : dict
        JSON data.
    parts : iterable of (name, array) or (name, bytes)
        The content. The parts are written one by one, so that they need not be in memory together.
        An array becomes the member ``name.npy`` of the archive; bytes become the member ``name`` as
        they are.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    TypeError
        If an array would need pickle.
    """
    header = {"format": _FORMAT, "version": _VERSION, "kind": kind, "settings": settings}
    json.dumps(header)  # what cannot be stored is found before anything is written
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in parts:
            if isinstance(array, bytes):
                archive.writestr(name, array)
                continue
            if array.dtype.hasobject:
                raise TypeError(f"{name} holds Python objects, which no model file stores")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.writestr(_HEADER, json.dumps({**header, "members": archive.namelist()}))


class ModelReader:
    """A model file, open for reading.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        What it holds, such as "KernelFlow".
    settings : dict
        JSON data.

    Raises
    ------
    ModelFileError
        If the file is not a model, is damaged, or is of another version of the format.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._prefix = ""
        mode = self.path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ModelFileError(f"{self.path} is a folder, not a kflow model file")
        if not stat.S_ISREG(mode):  # reading one may never end
            raise ModelFileError(
                f"{self.path} is a device or a pipe, not a kflow model file: copy it to a file"
            )
        with self.path.open("rb"):
            pass  # a file that cannot be read raises OSError here; later errors are of its content
        try:
            self._archive = zipfile.ZipFile(self.path)
        except Exception as error:  # zipfile raises nearly anything for a damaged directory
            raise ModelFileError(
                f"{self.path} is not a kflow model file, or it was cut short: {error}"
            ) from None
        try:
            self._members = self._checked_members()
            self._unread = self._members.keys() - {_HEADER}
            self._read_header()
        except BaseException:
            self._archive.close()
            raise

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the members by name, none of which takes more memory than its part of the file."""
        members = {member.filename: member for member in self._archive.infolist()}
        if len(members) < len(self._archive.infolist()):
            raise ModelFileError(f"{self.path} is damaged or foreign: two members have one name")
        for name, member in members.items():
            if (
                member.compress_type != zipfile.ZIP_STORED
                or member.file_size != member.compress_size
            ):
                raise ModelFileError(
                    f"{self.path} is foreign: {name} is compressed, and kflow compresses nothing"
                )
        if sum(member.file_size for member in members.values()) > self.path.stat().st_size:
            raise ModelFileError(f"{self.path} is damaged or foreign: its members overlap")
        return members

    def _read_header(self) -> None:
        """Read kind and settings, and check version and members."""
        try:
            header = json.loads(self.read(_HEADER))
            if header["format"] != _FORMAT:
                raise ValueError(header["format"])
            version = int(header["version"])
            self.kind: str = str(header["kind"])
            self.settings: dict[str, Any] = dict(header["settings"])
            listed = set(map(str, header["members"])) if version == _VERSION else self._unread
        except Exception as error:  # among them RecursionError and OverflowError
            raise ModelFileError(f"{self.path} is not a kflow model file: {error}") from None
        if version > _VERSION:
            raise ModelFileError(f"{self.path} was written by a newer kflow: upgrade to read it")
        if version < _OLDEST:
            raise ModelFileError(
                f"{self.path} was written by an older kflow, in a format that is no longer read: "
                "fit the model again"
            )
        for names, what in ((listed - self._unread, "lacks"), (self._unread - listed, "also has")):
            if names:
                raise ModelFileError(
                    f"{self.path} is damaged: it {what} {', '.join(sorted(names))}"
                )

    def __enter__(self) -> ModelReader:
        """Return the reader."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._archive.close()

    def read(self, member: str) -> bytes:
        """Return the content of one member of the archive."""
        self._unread.discard(member)
        try:
            return self._archive.read(member)
        except Exception as error:  # among them zlib.error, RuntimeError and NotImplementedError
            raise ModelFileError(f"{self.path} is damaged or foreign: {error}") from None

    def within(self, name: str, *, prefix: str = "") -> ModelReader:
        """Return a reader of the same file for the model in a setting, which has a kind and settings.

        Parameters
        ----------
        name : str
            The setting.
        prefix : str
            What the names of the model's arrays begin with in the file.

        Raises
        ------
        ModelFileError
            If the setting is missing or holds no model.
        """
        inner = copy(self)
        with damaged("settings"):
            stored = self.settings[name]
            inner.kind, inner.settings = str(stored["kind"]), dict(stored["settings"])
        inner._prefix = self._prefix + prefix
        return inner

    def __contains__(self, name: str) -> bool:
        """Return whether there is an array of that name."""
        return f"{self._prefix}{name}.npy" in self._members

    def check_all_read(self) -> None:
        """Raise ModelFileError if there is a member that nobody has read."""
        if self._unread:
            raise ModelFileError(
                f"{self.path} is damaged or foreign: a {self.kind} has no {min(self._unread)}"
            )

    def array(self, name: str, *, ndim: int | None = None) -> npt.NDArray[Any]:
        """Return one array."""
        name = self._prefix + name
        try:
            self._unread.discard(f"{name}.npy")
            with self._archive.open(f"{name}.npy") as member:
                array = read_array(member, self._members[f"{name}.npy"].file_size)
        except Exception as error:  # as above, and what read_array raises for a bad header
            raise ModelFileError(f"{self.path} is damaged: {name}: {error}") from None
        if ndim is not None and array.ndim != ndim:
            raise ModelFileError(f"{self.path} is damaged: {name} has {array.ndim} dimensions")
        return array
