"""Model files: a ZIP of .npy arrays, blocks of layers and one JSON text, readable with NumPy alone.

Nothing in a file is executed: arrays are read with ``allow_pickle=False``. ZIP's checksums reveal
damage. Files are written beside their final name and moved there when complete, so that a full disk
or a crash leaves an earlier file as it was.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.files import replacing
from kflow.errors import ModelFileError, damaged

__all__ = ["ModelReader", "write_model"]

_FORMAT = "kflow-model"
# Version 1 had one shape for all layers, version 2 had the steps multiplied into the coefficients,
# and version 3 had an array for each layer. No release wrote them.
_VERSION = 4


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
    header = json.dumps(
        {"format": _FORMAT, "version": _VERSION, "kind": kind, "settings": settings}
    )
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model.json", header)
        for name, array in parts:
            if isinstance(array, bytes):
                archive.writestr(name, array)
                continue
            if array.dtype.hasobject:
                raise TypeError(f"{name} holds Python objects, which no model file stores")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


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
        if self.path.is_dir():
            raise ModelFileError(f"{self.path} is a folder, not a kflow model file")
        with self.path.open("rb"):
            pass  # a file that cannot be read raises OSError here; later errors are of its content
        try:
            self._archive = zipfile.ZipFile(self.path)
        except Exception as error:  # zipfile raises nearly anything for a damaged directory
            raise ModelFileError(
                f"{self.path} is not a kflow model file, or it was cut short: {error}"
            ) from None
        try:
            header = json.loads(self.read("model.json"))
            if header["format"] != _FORMAT:
                raise ValueError(header["format"])
            version = int(header["version"])
            self.kind: str = str(header["kind"])
            self.settings: dict[str, Any] = dict(header["settings"])
        except Exception as error:  # among them RecursionError and OverflowError
            self._archive.close()
            raise ModelFileError(f"{self.path} is not a kflow model file: {error}") from None
        if version > _VERSION:
            self._archive.close()
            raise ModelFileError(f"{self.path} was written by a newer kflow: upgrade to read it")
        if version < _VERSION:
            self._archive.close()
            raise ModelFileError(
                f"{self.path} was written by an older kflow, in a format that is no longer read: "
                "fit the model again"
            )

    def __enter__(self) -> ModelReader:
        """Return the reader."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._archive.close()

    def read(self, member: str) -> bytes:
        """Return the content of one member of the archive."""
        try:
            return self._archive.read(member)
        except Exception as error:  # among them zlib.error, RuntimeError and NotImplementedError
            raise ModelFileError(f"{self.path} is damaged or foreign: {error}") from None

    def within(self, name: str) -> ModelReader:
        """Return a reader of the same file for the model in a setting, which has a kind and settings.

        Raises
        ------
        ModelFileError
            If the setting is missing or holds no model.
        """
        inner = copy(self)
        with damaged("settings"):
            stored = self.settings[name]
            inner.kind, inner.settings = str(stored["kind"]), dict(stored["settings"])
        return inner

    def __contains__(self, name: str) -> bool:
        """Return whether there is an array of that name."""
        return f"{name}.npy" in self._archive.namelist()

    def array(self, name: str, *, ndim: int | None = None) -> npt.NDArray[Any]:
        """Return one array."""
        try:
            with self._archive.open(f"{name}.npy") as member:
                # The checksum is compared only if the member is read to the end.
                array = np.lib.format.read_array(member, allow_pickle=False)
                if member.read(1):
                    raise ValueError("more data than its header says")
        except Exception as error:  # as above, and what read_array raises for a bad header
            raise ModelFileError(f"{self.path} is damaged: {name}: {error}") from None
        if ndim is not None and array.ndim != ndim:
            raise ModelFileError(f"{self.path} is damaged: {name} has {array.ndim} dimensions")
        return np.asarray(array)
