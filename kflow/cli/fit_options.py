"""The options of `kflow fit`: checked together, and translated into parameters of an estimator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from kflow.presets import IMAGE_PRESETS, Preset

__all__ = ["FitOptions"]

# Options that say nothing of the results, so that a resumed run may have others.
_OF_THE_PROCESS = (
    "as_json",
    "cv",
    "device",
    "force",
    "n_threads",
    "no_save",
    "output",
    "precision",
    "quiet",
    "resume",
)


@dataclass(frozen=True)
class FitOptions:
    """The options of one run, under the names of the command line.

    Attributes
    ----------
    parameters : mapping
        The options that are parameters of an estimator of the same name; None where not given.
    """

    dataset: str | None
    data_dir: Path | None
    preset: str | None
    data: Path | None
    target: str | None
    task: Any
    drop: Sequence[str]
    id: str | None
    separator: str
    encoding: str
    decimal: str
    cv: int | None
    kernel: str | None
    metric: str | None
    length_scale: float | None
    rank: str | int | float | None
    scaling: str | None
    seed: int
    early_stopping: bool
    validation_fraction: float | None
    n_draws: int
    output: Path
    layers_dtype: str | None
    resume: bool
    force: bool
    no_save: bool
    as_json: bool
    quiet: bool
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> FitOptions:
        """Return options from the values of all of them by name."""
        own = {item.name for item in fields(cls)} - {"parameters"}
        return cls(
            **{name: value for name, value in values.items() if name in own},
            parameters={name: value for name, value in values.items() if name not in own},
        )

    def _values(self) -> dict[str, Any]:
        """Return the values of all options by name."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**own.pop("parameters"), **own}

    def arguments(self) -> dict[str, Any]:
        """Return what decides the results: all options but those of the process."""
        return {
            name: value for name, value in self._values().items() if name not in _OF_THE_PROCESS
        }

    def with_arguments(self, arguments: Mapping[str, Any]) -> FitOptions:
        """Return these options with other arguments, in which paths may be text."""
        known = dict(arguments)
        for name in ("data", "data_dir"):
            known[name] = None if known[name] is None else Path(known[name])
        return self.of({**self._values(), **known})

    @property
    def is_table(self) -> bool:
        """Whether the data are a table, not arrays or images."""
        if self.data is None or self.is_image_folder:
            return False
        return self.data.suffix.lower() != ".npz"

    @property
    def is_image_folder(self) -> bool:
        """Whether the data are a folder or a ZIP file of images."""
        return self.data is not None and (self.data.is_dir() or self.data.suffix.lower() == ".zip")

    def image_preset(self, dataset: str) -> Preset | None:
        """Return what encodes the images of a known data set; None for their pixels."""
        return None if self.preset in (None, "pixels") else IMAGE_PRESETS[self.preset][dataset]

    @property
    def model_file(self) -> Path:
        """The file of the model."""
        return self.output / "model.kflow"

    @property
    def results_file(self) -> Path:
        """The file of the results."""
        return self.output / "results.json"

    def complete_results(self) -> dict[str, Any]:
        """Return the results of a complete run in the output; nothing if there is none."""
        try:
            results = json.loads(self.results_file.read_text())
            complete = results["status"] == "complete" and self.model_file.exists()
            return dict(results) if complete else {}
        except (OSError, LookupError, TypeError, ValueError):
            return {}

    def check(self) -> None:
        """Check that the options go together.

        Raises
        ------
        click.UsageError
            If two of them exclude each other, or one needs another.
        """
        if self.data is not None and (self.dataset or self.data_dir):
            raise click.UsageError("--data excludes --dataset and --data-dir")
        known = IMAGE_PRESETS.get(self.preset or "pixels")
        if known is not None and self.data is None and (self.dataset or "digits") not in known:
            raise click.UsageError(f"--preset {self.preset} needs --dataset {' or '.join(known)}")
        if self.data is not None and self.preset:
            raise click.UsageError("--preset belongs to --dataset")
        if self.data is None and (self.target or self.task):
            raise click.UsageError("--target and --task belong to --data")
        if self.is_image_folder and (self.target or self.task):
            raise click.UsageError(
                "--target and --task do not belong to images: their folders are their classes"
            )
        form = {self.separator, self.encoding, self.decimal}
        if not self.is_table and (self.drop or self.id or form != {"auto"}):
            raise click.UsageError(
                "--drop, --id, --separator, --encoding and --decimal belong to tables: pass one by --data"
            )
        if self.validation_fraction is not None and not self.early_stopping:
            raise click.UsageError("--validation-fraction belongs to --early-stopping")

    def estimator_settings(self, preset: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of the estimator: those of a preset where no option is given.

        Raises
        ------
        click.UsageError
            For a kernel that needs a length scale and has none, and where nothing could stop early.
        """
        settings = dict(preset, random_state=self.seed)
        settings.update(
            (name, value) for name, value in self.parameters.items() if value is not None
        )
        settings.update(self._kernel_settings())
        if self.rank is not None:
            settings["rank"] = self.rank or None
        if self.early_stopping:
            settings["early_stopping"] = True
        if self.validation_fraction is not None:
            settings["validation_fraction"] = self.validation_fraction
        if self.scaling is not None:
            settings["scaling"] = None if self.scaling == "none" else self.scaling
        if self.metric is not None:
            settings["metric"] = None if self.metric == "none" else self.metric
        if self.early_stopping and settings.get("n_layers", "auto") == "auto":
            raise click.UsageError("--early-stopping needs a number of layers: pass --n-layers")
        settings["progress"] = not self.quiet
        return settings

    def _kernel_settings(self) -> dict[str, Any]:
        from kflow.kernels import from_dict

        if self.length_scale is not None:
            if self.kernel == "auto":
                raise click.UsageError("--length-scale needs a --kernel that is not auto")
            kernel = {"kernel": self.kernel or "gaussian", "length_scale": self.length_scale}
            return {"kernel": from_dict(kernel)}
        if self.kernel in (None, "auto"):
            return {} if self.kernel is None else {"kernel": "auto"}
        if self.kernel != "gaussian":
            raise click.UsageError(f"--kernel {self.kernel} needs --length-scale")
        return {"kernel": None}
