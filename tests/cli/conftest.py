from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from kflow.cli import main
from kflow.cli.fit_run import FitSteps
from kflow.points.memory import MemoryPoints
from kflow.storage.block_file import read_block

# With these no folds are needed, whose flows would count as well.
GIVEN = (
    *("--kernel", "gaussian", "--metric", "none"),
    *("--nugget", 3, "--interpolation-nugget", 1),
)


@pytest.fixture
def run():
    """Run a command line, with other steps of `kflow fit` if they are given."""

    def run(*arguments, code=0, steps=None):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], obj=steps)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def clouds(tmp_path, rng):
    """A .npz file: three clouds of text-labelled points, 120 for training and 30 for the test."""
    names = np.array(["ant", "bee", "cow"])

    def draw(n):
        labels = np.arange(n) % 3
        return rng.normal(size=(n, 4)) + 2 * np.eye(3, 4)[labels], names[labels]

    (X, y), (X_test, y_test) = draw(120), draw(30)
    path = tmp_path / "clouds.npz"
    np.savez(path, X=X, y=y, X_test=X_test, y_test=y_test)
    return path


@pytest.fixture
def wave(tmp_path, rng):
    """A .csv file with numbers to predict."""
    X = rng.uniform(-2, 2, (100, 2))
    path = tmp_path / "wave.csv"
    table = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X])
    np.savetxt(path, table, delimiter=",", header="height,a,b", comments="")
    return path


@pytest.fixture
def small():
    """Options of a run that takes no time."""
    return (*GIVEN, "--n-layers", 6, "--batch-size", 30, "--n-draws", 2)


@pytest.fixture
def longer():
    """Options of a run of several blocks."""
    return (*GIVEN, "--n-layers", 60, "--batch-size", 30, "--n-draws", 2, "--every", 4)


@pytest.fixture
def fitted(run, clouds, small, tmp_path):
    """The folder that fit wrote for the clouds."""
    run("fit", "--data", clouds, *small, "--output", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def failing_in_layer():
    """Return steps of `kflow fit` in whose run a layer raises an error before it counts."""

    def failing_in_layer(number, error):
        def fit(*arguments, layer=MemoryPoints.layer):
            def fail(points, n, *rest):
                if n == number:
                    raise error
                return layer(points, n, *rest)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(MemoryPoints, "layer", fail)
                return FitSteps().fit(*arguments)

        return FitSteps(fit=fit)

    return failing_in_layer


@pytest.fixture
def layers_on_disk():
    """Return a function that counts the layers in the checkpoint of an output folder."""

    def layers_on_disk(out):
        return sum(len(read_block(path).block) for path in (out / "checkpoint").glob("block-*"))

    return layers_on_disk


@pytest.fixture
def failing():
    """Return a function that raises an error, whatever its arguments are."""

    def failing(error):
        def fail(*_, **__):
            raise error

        return fail

    return failing
