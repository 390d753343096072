"""The suite for losses finds what is wrong with one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kflow.losses import LOSSES, Loss, nlml
from kflow.testing import LossTests, loss_nlml


def suite_of(loss, slow=None):
    suite = LossTests()
    suite.loss, suite.slow = loss, slow
    return suite


def scaled(value=1.0, gradient=1.0):
    """A likelihood that is wrong by a factor."""

    def function(K, Y, **options):
        exact, G = nlml(K, Y, **options)
        return value * exact, None if G is None else gradient * G

    return Loss(function, unit=LOSSES["nlml"].unit)


def test_a_wrong_value_is_found():
    suite_of(scaled(), loss_nlml).test_value_and_gradient()
    with pytest.raises(AssertionError):
        suite_of(scaled(1 + 1e-9, 1 + 1e-9), loss_nlml).test_value_and_gradient()


@pytest.mark.parametrize("slow", [None, loss_nlml])
def test_a_wrong_gradient_is_found(slow):
    with pytest.raises(AssertionError):
        suite_of(scaled(gradient=1.01), slow).test_value_and_gradient()


def test_a_wrong_row_of_the_table_is_found():
    with pytest.raises(AssertionError):
        suite_of(
            replace(LOSSES["nlml"], uses_targets=False)
        ).test_targets_matter_as_the_table_says()


def test_an_error_that_does_not_name_the_argument_is_found():
    def function(K, Y, **options):
        try:
            return nlml(K, Y, **options)
        except ValueError:
            raise ValueError("no") from None

    with pytest.raises(AssertionError):
        suite_of(Loss(function)).test_wrong_shapes_are_refused()
