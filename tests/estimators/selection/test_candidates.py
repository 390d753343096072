from __future__ import annotations

import pytest

from kflow import kernels
from kflow.estimators.selection.candidates import (
    FAMILIES,
    Candidate,
    KernelChoice,
    length_of,
    nugget_of,
)


def test_families_have_the_names_of_their_kernels():
    assert [make(1.0).family for make in FAMILIES.values()] == list(FAMILIES)


@pytest.mark.parametrize("i", [-4, 0, 3, 6])
@pytest.mark.parametrize("j", [-12, -1, 0, 3])
def test_a_candidate_knows_its_place(i, j):
    choice = KernelChoice(kernels.Laplacian(length_of(i)), relative=True)
    assert Candidate(choice, nugget_of(j)).place == (i, j)


def test_length_scales_in_units_of_the_spread():
    kernel = kernels.RationalQuadratic(0.5, alpha=1.0)
    assert KernelChoice(kernel, relative=True).at(3.0) == kernels.RationalQuadratic(1.5, alpha=1.0)
    assert KernelChoice(kernel, relative=False).at(3.0) is kernel


def test_a_kernel_with_several_length_scales_has_a_place():
    choice = KernelChoice(kernels.Gaussian((1.0, 2.0)), relative=False)
    assert Candidate(choice, 0.0).place[0] == 0
