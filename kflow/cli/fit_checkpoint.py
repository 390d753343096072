"""The checkpoint of `kflow fit`: that of the flow, and the arguments of the command beside it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kflow._base.files import replacing
from kflow.errors import ModelFileError

__all__ = ["FitCheckpoint"]


class FitCheckpoint:
    """The folder ``checkpoint`` in the output of `kflow fit`, there until the run is complete.

    Parameters
    ----------
    output : Path
        The output's folder.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.folder = output / "checkpoint"
        self._arguments = self.folder / "arguments.json"
        # A name under which nobody takes it for a checkpoint while it is removed.
        self._removed = output / "checkpoint.removed"

    def exists(self) -> bool:
        """Return whether there is an unfinished run."""
        from kflow.storage.checkpoint import has_flow

        return self._arguments.exists() or has_flow(self.folder)

    @property
    def n_bytes(self) -> int:
        """The room that it takes."""
        if not self.folder.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    def start(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of a new run.

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
            Those of today.
        given : iterable of str
            The names of those that the user gave: they must be as they were.

        Raises
        ------
        ModelFileError
            If the arguments cannot be read.
        ValueError
            If some contradict them, naming the options.
        """
        try:
            known = dict(json.loads(self._arguments.read_text()))
        except (FileNotFoundError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{self._arguments} is missing or damaged ({error}): restore it, or remove "
                f"{self.folder} and start again"
            ) from None
        today = _plain(arguments)
        for name in given:
            if name in known and today[name] != known[name]:
                option = name.removeprefix("n_") if name in ("n_layers", "n_threads") else name
                raise ValueError(
                    f"--{option.replace('_', '-')} contradicts the run in {self.folder}, which has "
                    f"{_shown(known[name])}: leave it out, or start a new run in another --output"
                )
        return known

    def remove(self) -> None:
        """Remove it, at once, and what a killed removal has left."""
        if self.folder.exists():
            self.clean()
            os.replace(self.folder, self._removed)
        self.clean()

    def clean(self) -> None:
        """Remove what a killed removal has left."""
        shutil.rmtree(self._removed, ignore_errors=True)


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON data: files by their full path."""
    paths = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in arguments.items()
    }
    return dict(json.loads(json.dumps(paths)))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{first}:{piece}" for first, piece in value.items())
    return "none" if value is None else str(value)
