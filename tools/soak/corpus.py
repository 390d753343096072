"""Small valid files of every kind that kflow reads, made by code, and how each is read."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import kflow
from kflow.block_file import read_block
from kflow.data.table_file import read_table
from kflow.datasets import load_dataset, load_file, load_image_folder
from kflow.estimators.image_pipeline import ImagePipeline
from kflow.features import Augmentation, ImageEncoder
from kflow.presets import FIXED
from kflow.storage.points_file import read_points, write_points

__all__ = ["LOADERS", "Valid", "corpus"]

KERNEL = kflow.kernels.Gaussian(2.0)
X = np.random.default_rng(7).normal(size=(24, 3))
Y = (X[:, 0] > 0).astype(float)
IMAGES = np.random.default_rng(8).integers(0, 256, (24, 6, 5), np.uint8)
_FLOW: dict[str, Any] = {"batch_size": 8, "random_state": 0, "nugget": 0.1, "every": 2}


@dataclass(frozen=True)
class Valid:
    """A valid file.

    Attributes
    ----------
    loader : str
        The entry of `LOADERS` that reads it.
    path : Path
        The file.
    seal : {"zip", "tensors", "json", "pictures", "png", None}
        How its checksums can be made right again after a change.
    """

    loader: str
    path: Path
    seal: str | None

    @property
    def is_checked(self) -> bool:
        """Whether a checksum covers the whole content, so that no change may pass."""
        return self.seal in ("zip", "tensors", "json")


def digest(*parts: Any) -> str:
    """Return a digest of arrays and other values."""
    state = hashlib.sha256()
    for part in parts:
        array = np.asarray(part)
        text = f"{array.dtype} {array.shape}".encode()
        state.update(text + (pickle.dumps(part) if array.dtype.hasobject else array.tobytes()))
    return state.hexdigest()


def _model(path: Path) -> str:
    model = kflow.load(path)
    if isinstance(model, ImagePipeline):
        return digest(model.predict(IMAGES[:3]), model.predict_proba(IMAGES[:3]))
    if hasattr(model, "encoder"):
        rows = np.array([[0.5, "a"], [None, "b"]], dtype=object)
        return digest(model.predict(rows))
    use = model.predict if hasattr(model, "predict") else model.transform
    parts = [use(X[:3])]
    if isinstance(model, (kflow.GPRegressor, kflow.StackedGPRegressor)):
        parts.append(model.predict(X[:3], return_std=True)[1])
    else:
        flow = getattr(model, "flow_", model)
        parts += [flow.points_, flow.targets_, *flow.history_.values()]
    return digest(type(model).__name__, *parts)


def _block(path: Path) -> str:
    block = read_block(path).block
    return digest(block.first, *(part for layer in block.layers for part in layer))


def _points(path: Path) -> str:
    arrays, n_layers = read_points(path)
    return digest(n_layers, *(arrays[name] for name in sorted(arrays)))


def _checkpoint(path: Path) -> str:
    flow = _checkpointed(path.parent).fit(X, Y, resume=True)
    return digest(flow.n_layers_, flow.points_, flow.transform(X[:3]))


def _checkpointed(folder: Path) -> kflow.KernelFlow:
    return kflow.KernelFlow(KERNEL, n_layers=4, checkpoint=folder, rank="auto", **_FLOW)


def _idx(path: Path) -> str:
    data = load_dataset("mnist", path.parent)
    return digest(data.X_train, data.y_train, data.X_test, data.y_test)


def _file(path: Path) -> str:
    data = load_file(path)
    return digest(data.X_train, data.y_train, data.X_test, data.y_test)


def _images(path: Path) -> str:
    data = load_image_folder(path if path.suffix == ".zip" else path.parents[1])
    return digest(data.X_train, data.y_train, data.X_test, data.y_test)


def _table(path: Path) -> str:
    frame = read_table(path).frame
    return digest(list(frame.columns), frame.to_numpy(dtype=object))


LOADERS: dict[str, Callable[[Path], str]] = {
    "model": _model,
    "block": _block,
    "points": _points,
    "checkpoint": _checkpoint,
    "idx": _idx,
    "csv": _file,
    "npz": _file,
    "table": _table,
    "images": _images,
}


def corpus(folder: Path) -> list[Valid]:
    """Write valid files of every kind to a folder, and return them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*_models(folder), *_of_checkpoints(folder), *_data(folder), *_pictures(folder)]


def _models(folder: Path) -> list[Valid]:
    estimator = {**FIXED, "n_layers": 2, "random_state": 0}
    rows = np.array([[x, "ab"[i % 2]] for i, x in enumerate(X[:, 0])], dtype=object)
    flow = {name: value for name, value in _FLOW.items() if name != "every"}
    models = {
        "flow": kflow.KernelFlow(KERNEL, n_layers=3, **flow).fit(X, Y),
        "reduced": kflow.KernelFlow(
            *(KERNEL,), n_layers=4, rank="auto", shrink_every=2, shrink_tolerance=0.3, **flow
        ).fit(X, Y, {"same": X[:4]}),
        "classifier": kflow.KernelFlowClassifier(**estimator).fit(X, Y.astype(int)),
        "regressor": kflow.KernelFlowRegressor(**estimator).fit(X, X[:, 1]),
        "process": kflow.GPRegressor(learn=None, random_state=0).fit(X + 4, X[:, 1]),
        "stack": kflow.StackedGPRegressor(
            [KERNEL, KERNEL], estimator=kflow.GPRegressor(learn=None), random_state=0
        ).fit(X, np.exp(X[:, 1])),
        "pipeline": kflow.make_table_pipeline(kflow.KernelFlowClassifier(**estimator)).fit(rows, Y),
        "images": kflow.make_image_pipeline(
            kflow.KernelFlowClassifier(**estimator), encoder=ImageEncoder(J=1, L=2, n_components=4)
        ).fit(IMAGES, Y.astype(int)),
        "copies": kflow.make_image_pipeline(
            kflow.KernelFlowClassifier(**estimator),
            encoder=ImageEncoder(J=1, L=2, n_filters=3, patch_size=2, n_cells=1, n_components=4),
            augmentation=Augmentation(1, mirror=True),
            n_views=2,
        ).fit(IMAGES, Y.astype(int)),
    }
    valid = []
    for name, model in models.items():
        model.save(folder / f"{name}.kflow")
        valid.append(Valid("model", folder / f"{name}.kflow", "zip"))
    return valid


def _of_checkpoints(folder: Path) -> list[Valid]:
    run = folder / "run"
    _checkpointed(run).fit(X, Y)
    block = folder / "block.safetensors"
    shutil.copy(run / "block-00000000.safetensors", block)
    write_points(folder / "points.safetensors", {"a": X, "b": X[:2].astype(np.float32)}, 3, "id")
    return [
        Valid("block", block, "tensors"),
        Valid("points", folder / "points.safetensors", "tensors"),
        Valid("checkpoint", run / "flow.json", "json"),
        Valid("checkpoint", run / "block-00000002.safetensors", "tensors"),
        Valid("checkpoint", run / "basis.safetensors", "tensors"),
    ]


def _data(folder: Path) -> list[Valid]:
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 12), ("t10k", 4)):
        pixels = struct.pack(">4B3I", 0, 0, 8, 3, n, 2, 3) + rng.bytes(6 * n)
        labels = struct.pack(">4BI", 0, 0, 8, 1, n) + bytes(i % 3 for i in range(n))
        (images / f"{part}-images-idx3-ubyte").write_bytes(pixels)
        (images / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels, mtime=0))
    lines = [f"{a:.3f},{b:.3f},{'yes' if c > 0 else 'no'}" for a, b, c in X]
    text = "\n".join(["first,second,kind", *lines]) + "\n"
    for name in ("data.csv", "table.csv"):
        (folder / name).write_text(text)
    np.savez(folder / "data.npz", X=X, y=Y)
    np.savez_compressed(folder / "packed.npz", X=X, y=Y)
    return [
        Valid("idx", images / "train-images-idx3-ubyte", None),
        Valid("idx", images / "t10k-labels-idx1-ubyte.gz", None),
        Valid("csv", folder / "data.csv", None),
        Valid("table", folder / "table.csv", None),
        Valid("npz", folder / "data.npz", None),
        Valid("npz", folder / "packed.npz", None),
    ]


def _pictures(folder: Path) -> list[Valid]:
    """Write PNG and JPEG files, in grey and in colour, to folders of classes and to a ZIP file."""
    place = folder / "pictures"
    files = []
    for number, image in enumerate(IMAGES[:8]):
        pixels = np.repeat(image[..., None], 3, axis=2) if number == 1 else image
        name = f"{'ab'[number % 2]}/{number}.{'jpg' if number % 4 > 1 else 'png'}"
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name)
        files.append(name)
    for name, kind in (("stored.zip", zipfile.ZIP_STORED), ("packed.zip", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(folder / name, "w", kind) as archive:
            for file in files:
                archive.write(place / file, file)
    return [
        Valid("images", folder / "stored.zip", "pictures"),
        Valid("images", folder / "packed.zip", "pictures"),
        Valid("images", place / files[0], "png"),
        Valid("images", place / files[1], "png"),
        Valid("images", place / files[2], None),
    ]
