from __future__ import annotations

import inspect
import json

import pytest

from kflow import KernelFlowClassifier
from kflow.cli.options import ESTIMATOR_DEFAULTS


def test_the_help_tells_the_defaults_of_the_estimators():
    parameters = inspect.signature(KernelFlowClassifier).parameters
    assert {name: parameters[name].default for name in ESTIMATOR_DEFAULTS} == ESTIMATOR_DEFAULTS


@pytest.mark.parametrize("command", ["fit", "demo"])
def test_former_names_are_not_shown(command, run):
    words = run(command, "--help").stdout.split()
    assert "--n-threads" in words
    assert not {"--draws", "--layers", "--threads"} & set(words)


def test_former_names_are_accepted(run, clouds):
    def results(*options):
        arguments = ("--data", clouds, "--batch-size", 30, *options, "--no-save", "--json")
        values = json.loads(run("fit", *arguments).stdout)
        return values["errors"], values["model"]["n_layers"]

    former = results("--layers", 3, "--draws", 2, "--threads", 1)
    assert former == results("--n-layers", 3, "--n-draws", 2, "--n-threads", 1)
    assert former[1] == 3
