"""``kflow info``: describe a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kflow.cli.options import as_json_option
from kflow.cli.output import info_table, print_data
from kflow.flow.schedules import SCHEDULES, Schedule

if TYPE_CHECKING:
    from kflow.flow.kernel_flow import KernelFlow

__all__ = ["describe", "info"]

# The settings that are told beside the schedules: of every flow, and of an estimator.
_FLOW_SETTINGS = (
    "batch_size",
    "coarse_fraction",
    "step_over",
    "n_halves",
    "rank",
    "shrink_every",
    "shrink_tolerance",
    "dtype",
)
_ESTIMATOR_SETTINGS = ("scaling", "interpolation_nugget_", "n_interpolation")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@as_json_option("Print JSON instead of a table.")
def info(model: Path, as_json: bool) -> None:
    """Describe MODEL: its kind, kernel, sizes, loss and settings.

    MODEL is a file that kflow fit or the save method of a flow or an estimator wrote.
    """
    from kflow.persistence import load

    print_data({**describe(load(model)), "bytes": model.stat().st_size}, as_json, info_table)


def describe(model: Any) -> dict[str, Any]:
    """Return kind, kernel, sizes, loss and settings of a fitted flow or estimator as JSON data.

    Of an estimator for tables, also what becomes of each column, and of one for images their shapes.
    Of one without a flow, such as GPRegressor, only kind, kernel, sizes and nugget.
    """
    if hasattr(model, "encoder") and not hasattr(model, "id_column"):
        encoder = model.encoder
        images: dict[str, Any] = {
            "image_shape": list(encoder.scattering_.image_shape_),
            "map_shape": list(encoder.scattering_.map_shape_),
            "n_components": encoder.components_.shape[1],
        }
        if encoder.patches_ is not None:
            images["patch_map_shape"] = list(encoder.patches_.map_shape_)
        if model.augmentation is not None:
            images |= {"augmentation": model.augmentation.to_dict(), "n_views": model.n_views}
        return {**describe(model.estimator), "images": images}
    if hasattr(model, "encoder"):
        columns = {column.name: column.report() for column in model.encoder.columns_}
        return {**describe(model.estimator), "id_column": model.id_column, "columns": columns}
    if not hasattr(getattr(model, "flow_", model), "history_"):
        return _describe_without_flow(model)
    flow: KernelFlow = getattr(model, "flow_", model)
    is_estimator = model is not flow
    history = flow.history_
    rho, seconds = history["rho"], float(history["seconds"].sum())
    return {
        "kind": type(model).__name__,
        "kernel": flow.kernel_.to_dict(),
        "n_layers": flow.n_layers_,
        "layers_per_second": flow.n_layers_ / seconds if seconds > 0.0 else None,
        "rho": {"first": rho[0], "last": rho[-1]} if len(rho) else None,
        "n_points": len(flow.targets_),
        **({"n_interpolation": len(model.interpolant_.centres)} if is_estimator else {}),
        "n_features": int(model.n_features_in_),
        "n_dimensions": flow.rank_,
        "energy_dropped": flow.energy_dropped_,
        "settings": {
            **{name: Schedule.to_json(getattr(flow, name)) for name in SCHEDULES},
            **{name: getattr(flow, name) for name in _FLOW_SETTINGS},
            **{
                name.rstrip("_"): getattr(model, name)
                for name in _ESTIMATOR_SETTINGS
                if is_estimator
            },
        },
    }


def _describe_without_flow(model: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": type(model).__name__}
    if hasattr(model, "estimators_"):
        facts["members"] = [
            {**_describe_without_flow(member), "weights": weights.tolist()}
            for member, weights in zip(model.estimators_, model.weights_, strict=True)
        ]
    if hasattr(model, "kernel_"):
        facts["kernel"] = model.kernel_.to_dict()
    if hasattr(model, "X_train_"):
        facts["n_points"] = len(model.X_train_)
    if hasattr(model, "n_features_in_"):
        facts["n_features"] = int(model.n_features_in_)
    if hasattr(model, "nugget_"):
        facts["nugget"] = float(model.nugget_)
    return facts
