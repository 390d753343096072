"""Do losses of kernels on inner layers help a network: `python bench/torch_regularization.py --data-dir DIR`.

A small convolutional network learns some images of Fashion-MNIST, MNIST, or without a folder scikit-learn's
digits, with cross-entropy alone ("plain"), with dropout, and with rho or e2 on its inner layers, see
`kflow.torch.KernelFlowRegularizer`. All have the same architecture, steps, and schedule. The learning rate
is chosen for "plain" and kept for the others; the rate of dropout, and the weight and the layers of the
losses, are chosen by the errors on training images held out, over seeds that are not used again. Then the
methods are compared on the test set, once, over further seeds. A seed says which images are learned, the
initial weights and the order of the batches, so that the differences between methods are paired.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from measuring import Table, parser, write_json
from torch import nn

from kflow.datasets import load_dataset
from kflow.torch import KernelFlowRegularizer, KernelLoss

INNER = ("first", "second", "hidden")
FIRST_TUNING_SEED = 1000


class Images(NamedTuple):
    """Images with their labels."""

    X: torch.Tensor
    y: torch.Tensor

    def rows(self, index: np.ndarray) -> Images:
        rows = torch.from_numpy(index)
        return Images(self.X[rows], self.y[rows])


def network(side: int, channels: int, dropout: float) -> nn.Sequential:
    """Two convolutions with pooling, a hidden layer, and the scores of ten classes."""
    model = nn.Sequential()
    model.add_module("convolution1", nn.Conv2d(1, channels, 3, padding=1))
    model.add_module("relu1", nn.ReLU())
    model.add_module("first", nn.MaxPool2d(2))
    model.add_module("convolution2", nn.Conv2d(channels, 2 * channels, 3, padding=1))
    model.add_module("relu2", nn.ReLU())
    model.add_module("second", nn.MaxPool2d(2))
    model.add_module("flat", nn.Flatten())
    model.add_module("linear", nn.Linear(2 * channels * (side // 4) ** 2, 64))
    model.add_module("hidden", nn.ReLU())
    model.add_module("dropout", nn.Dropout(dropout))
    model.add_module("scores", nn.Linear(64, 10))
    return model


def errors(model: nn.Module, images: Images) -> tuple[float, float]:
    """Return the percentage of wrong labels, and the cross-entropy."""
    model.eval()
    with torch.no_grad():
        scores = torch.cat([model(part) for part in images.X.split(1000)])
    wrong = (scores.argmax(1) != images.y).double().mean()
    return 100 * float(wrong), float(nn.functional.cross_entropy(scores, images.y))


def trained(images: Images, seed: int, args: Any, settings: dict[str, Any]) -> nn.Module:
    """Return a network that has learned the images."""
    torch.manual_seed(seed)
    model = network(images.X.shape[-1], args.channels, settings.get("dropout", 0.0))
    regularizer = None
    if "loss" in settings:
        regularizer = KernelFlowRegularizer(
            model,
            settings["layers"],
            weight=settings["weight"],
            loss=KernelLoss(settings["loss"], n_classes=10, random_state=seed),
        )
    steps = args.epochs * (len(images.X) // args.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = np.random.default_rng(seed)
    model.train()
    for _ in range(args.epochs):
        rows = order.permutation(len(images.X))
        for k in range(len(rows) // args.batch):
            batch = images.rows(rows[k * args.batch : (k + 1) * args.batch])
            loss = nn.functional.cross_entropy(model(batch.X), batch.y)
            if regularizer is not None:
                loss = loss + regularizer(batch.y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if regularizer is not None:
        regularizer.detach()
    return model


def candidates(args: Any, learning_rate: float) -> dict[str, list[dict[str, Any]]]:
    """Return what each method chooses from."""
    base = {"learning_rate": learning_rate}
    layers = [list(INNER), [INNER[-1]]]
    return {
        "plain": [base],
        "dropout": [{**base, "dropout": rate} for rate in args.dropout],
        **{
            loss: [
                {**base, "loss": loss, "layers": names, "weight": weight}
                for names in layers
                for weight in args.weights
            ]
            for loss in ("rho", "e2")
        },
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--dataset", default="fashion-mnist", help="or mnist, digits")
    arguments.add_argument("--data-dir", help="folder of the IDX files; without it: digits")
    arguments.add_argument("--n", type=int, default=2000, help="images to learn from")
    arguments.add_argument("--held-out", type=int, default=5000, help="images to choose by")
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--tuning-seeds", type=int, default=2)
    arguments.add_argument("--epochs", type=int, default=30)
    arguments.add_argument("--batch", type=int, default=100)
    arguments.add_argument("--channels", type=int, default=8)
    arguments.add_argument("--weights", type=float, nargs="+", default=[0.1, 0.5, 2.0])
    arguments.add_argument("--dropout", type=float, nargs="+", default=[0.25, 0.5])
    arguments.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    args = arguments.parse_args()
    if args.data_dir is None:
        args.dataset = "digits"
    torch.set_num_threads(1)

    data = load_dataset(args.dataset, args.data_dir)
    assert data.image_shape is not None
    largest = float(data.X_train.max())

    def as_images(X: np.ndarray, y: np.ndarray) -> Images:
        pixels = torch.tensor(X, dtype=torch.float32).reshape(-1, 1, *data.image_shape) / largest
        return Images(pixels, torch.tensor(y, dtype=torch.int64))

    everything, test = as_images(data.X_train, data.y_train), as_images(data.X_test, data.y_test)
    n_held_out = min(args.held_out, len(everything.X) // 4)
    n = min(args.n, len(everything.X) - n_held_out)

    def parts(seed: int) -> tuple[Images, Images]:
        rows = np.random.default_rng(seed).permutation(len(everything.X))
        return everything.rows(rows[:n]), everything.rows(rows[n : n + n_held_out])

    # ---- choice, on images held out of the training set ----
    tuning: list[dict[str, Any]] = []

    def held_out_error(method: str, settings: dict[str, Any]) -> float:
        percent = []
        for seed in range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + args.tuning_seeds):
            learned, held_out = parts(seed)
            percent.append(errors(trained(learned, seed, args, settings), held_out)[0])
        mean = float(np.mean(percent))
        tuning.append({"method": method, "settings": settings, "errors": percent, "mean": mean})
        print(f"{method:8} {mean:6.2f} % held out  {settings}", flush=True)
        return mean

    def best(method: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        known = {str(row["settings"]): row["mean"] for row in tuning}
        return min(choices, key=lambda s: known.get(str(s)) or held_out_error(method, s))

    rate = best("plain", [{"learning_rate": rate} for rate in args.rates])["learning_rate"]
    chosen = {name: best(name, options) for name, options in candidates(args, rate).items()}

    # ---- comparison, on the test set ----
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    took: dict[str, list[float]] = {name: [] for name in chosen}
    for seed in range(args.seeds):
        learned, _ = parts(seed)
        for name, settings in chosen.items():
            start = time.perf_counter()
            model = trained(learned, seed, args, settings)
            took[name].append(time.perf_counter() - start)
            found[name].append(errors(model, test))
            print(f"seed {seed}: {name:8} {found[name][-1][0]:6.2f} %", flush=True)

    table = Table(
        {"method": "<8s", "error %": "8.2f", "minus plain": "12.2f", "+-": "6.2f", "better": "7d"}
    )
    plain = np.array(found["plain"])[:, 0]
    rows = []
    for name, values in found.items():
        percent, entropy = np.array(values).T
        less = percent - plain
        row = {
            "method": name,
            "settings": chosen[name],
            "layers": ", ".join(chosen[name].get("layers", [])) or "-",
            "weight": chosen[name].get("weight", chosen[name].get("dropout", 0.0)),
            "errors": percent.tolist(),
            "mean": float(percent.mean()),
            "deviation": float(percent.std(ddof=1)) if args.seeds > 1 else 0.0,
            "difference": float(less.mean()),
            "standard_error": float(less.std(ddof=1) / math.sqrt(args.seeds))
            if args.seeds > 1
            else 0.0,
            "better": int((less < 0).sum()),
            "cross_entropy": float(entropy.mean()),
            "seconds": float(np.median(took[name])),
        }
        assert 0 <= row["mean"] < 95, "no better than guessing"
        table.row(name, row["mean"], row["difference"], row["standard_error"], row["better"])
        rows.append(row)
    write_json(
        args,
        ("torch",),
        rows=rows,
        tuning=tuning,
        n=n,
        n_held_out=n_held_out,
        n_test=len(test.X),
    )


if __name__ == "__main__":
    main()
