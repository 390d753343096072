from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kflow import kernels
from kflow.estimators.selection.candidates import Candidate, KernelChoice
from kflow.estimators.selection.record import Selection
from kflow.learning.gradient_metric import MapSettings

PLAIN = Candidate(KernelChoice(kernels.Gaussian(0.6), relative=True), 0.1, error=0.25)
MAPPED = Candidate(
    KernelChoice(kernels.RationalQuadratic(1.0, alpha=1.0), relative=False),
    0.0,
    MapSettings(1.0, 2),
    30,
    0.125,
)
CHOSEN = Selection(MAPPED, (PLAIN, MAPPED), 100, 4, "Chosen by the squared error.")


def test_the_table_has_a_star_at_what_was_chosen():
    lines = str(CHOSEN).splitlines()
    assert lines[0] == "Chosen by the squared error."
    assert lines[1].split() == ["map", "kernel", "length", "scale", "nugget", "layers", "error"]
    assert lines[2].split() == ["none", "Gaussian", "0.6", "0.1", "0", "0.25"]
    assert lines[3].startswith("*  full, power 1, 2 steps")
    assert lines[3].split()[-5:] == ["RationalQuadratic", "given", "0", "30", "0.125"]
    assert repr(CHOSEN) == str(CHOSEN)


def test_nothing_tried_is_one_sentence():
    assert str(Selection(None, (), 0, 0, "Nothing was tried.")) == "Nothing was tried."


def test_html():
    html = CHOSEN._repr_html_()
    assert html.count("<tr>") == 3
    assert "<td>*</td>" in html
    assert "&lt;" in Selection(None, (), 0, 0, "a < b")._repr_html_()


def test_there_and_back_by_json():
    again = Selection.from_dict(json.loads(json.dumps(CHOSEN.to_dict())))
    assert again == CHOSEN
    untried = replace(CHOSEN, tried=(PLAIN.with_layers(5),), chosen=None)
    assert Selection.from_dict(json.loads(json.dumps(untried.to_dict()))) == untried
    assert str(untried).splitlines()[-1].split()[-2:] == ["5", "-"]
    nothing = Selection(None, (), 0, 0, "Nothing was tried.")
    assert Selection.from_dict(nothing.to_dict()) == nothing


@pytest.mark.parametrize(
    "change",
    [
        {"chosen": 5},
        {"chosen": -1},
        {"chosen": "first"},
        {"tried": 3},
        {"tried": [{}]},
        {"n_rows": -1},
        {"tried": [{**PLAIN.to_dict(), "nugget": -1.0}]},
        {"tried": [{**PLAIN.to_dict(), "relative": 1}]},
        {"tried": [{**PLAIN.to_dict(), "kernel": {"kernel": "linear"}}]},
        {"tried": [{**PLAIN.to_dict(), "map": {"other": 1}}]},
    ],
)
def test_damaged_data_are_refused(change):
    with pytest.raises((IndexError, KeyError, TypeError, ValueError)):
        Selection.from_dict({**CHOSEN.to_dict(), **change})
