from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_the_reference():
    """Its matrices are so small that BLAS's threads would only wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield
