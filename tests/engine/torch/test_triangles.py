"""Inverses of triangles, against those of substitution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kflow.engine.torch.triangles import inverted


def triangle(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    m = shape[-1]
    x = torch.randn(*shape, m, generator=generator, dtype=torch.float64)
    matrix = x @ x.mT / m + 0.1 * torch.eye(m, dtype=torch.float64)
    return torch.linalg.cholesky(matrix).to(dtype)


@pytest.mark.parametrize("shape", [(1,), (2,), (40,), (41,), (81,), (200,), (3, 77), (2, 2, 90)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_the_inverse(shape, dtype, tolerance):
    found = inverted(triangle(*shape, dtype=dtype))
    expected = np.linalg.inv(triangle(*shape).numpy())
    assert found.dtype == dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance * 10)
    assert not found.triu(1).any()


def test_what_is_given_stays():
    given = triangle(100)
    before = given.clone()
    inverted(given)
    torch.testing.assert_close(given, before, rtol=0.0, atol=0.0)


def test_what_is_above_the_diagonal_is_not_read():
    given = triangle(100)
    upper = torch.ones(100, 100, dtype=torch.bool).triu(1)
    expected = inverted(given)
    torch.testing.assert_close(inverted(torch.where(upper, 7.0, given)), expected, rtol=0, atol=0)
