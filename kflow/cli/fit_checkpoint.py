"""The checkpoint of `kflow fit`: the checkpoint of its flow, with the arguments of the command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kflow._base.files import replacing
from kflow.cli.options import current_name
from kflow.errors import ModelFileError

__all__ = ["FitCheckpoint"]


class FitCheckpoint:
    """The folder ``checkpoint`` in the output of `kflow fit`, which exists until the run is complete.

    Parameters
    ----------
    output : Path
        Folder of the output.

    Attributes
    ----------
    folder : Path
        The checkpoint, which the flow writes.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.folder = output / "checkpoint"
        self._arguments = self.folder / "arguments.json"
        # Under this name nobody takes it for a checkpoint while its files are removed.
        self._removed = output / "checkpoint.removed"

    def exists(self) -> bool:
        """Return whether there is an unfinished run."""
        from kflow.storage.checkpoint import has_flow

        return self._arguments.exists() or has_flow(self.folder)

    @property
    def n_bytes(self) -> int:
        """The bytes that its files take."""
        if not self.folder.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    def start(self, arguments: Mapping[str, Any]) -> None:
        """Make the folder, and keep the arguments of a new run in it.

        Parameters
        ----------
        arguments : mapping
            The arguments that decide the results.

        Raises
        ------
        FileExistsError
            If there is an unfinished run.
        """
        if self.exists():
            raise FileExistsError(
                f"{self.folder} holds an unfinished run: go on with it by kflow fit --resume "
                f"--output {self._output}, or pass another --output, or remove that folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._arguments) as file:
            file.write(json.dumps(_plain(arguments), indent=1).encode())

    def merged(self, arguments: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
        """Return the arguments that the run was started with.

        Parameters
        ----------
        arguments : mapping
            The arguments of this process.
        given : iterable of str
            The names of the arguments that the user gave. Their values must be those of the run.

        Returns
        -------
        dict
            The arguments of the run under their current names, with paths as text.

        Raises
        ------
        ModelFileError
            If the arguments cannot be read.
        ValueError
            If a given argument has another value, naming the option.
        """
        try:
            stored = dict(json.loads(self._arguments.read_text()))
        except (FileNotFoundError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{self._arguments} is missing or damaged ({error}): restore it, or remove "
                f"{self.folder} and start again"
            ) from None
        known = {current_name(name).replace("-", "_"): value for name, value in stored.items()}
        today = _plain(arguments)
        for name in given:
            if name in known and today[name] != known[name]:
                raise ValueError(
                    f"--{name.replace('_', '-')} contradicts the run in {self.folder}, which has "
                    f"{_shown(known[name])}: leave it out, or start a new run in another --output"
                )
        return known

    def remove(self) -> None:
        """Remove the checkpoint at once, and whatever a killed removal has left."""
        if self.folder.exists():
            self.clean()
            os.replace(self.folder, self._removed)
        self.clean()

    def clean(self) -> None:
        """Remove whatever a killed removal has left."""
        shutil.rmtree(self._removed, ignore_errors=True)


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON data, with full paths for files."""
    paths = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in arguments.items()
    }
    return dict(json.loads(json.dumps(paths)))


def _shown(value: Any) -> str:
    """Return a value as the command line takes it."""
    if isinstance(value, dict):
        return ",".join(f"{first}:{piece}" for first, piece in value.items())
    return "none" if value is None else str(value)
