"""Every loss of the table passes the tests of `kflow.testing`."""

from __future__ import annotations

import pytest

from kflow.losses import LOSSES
from kflow.testing import SLOW_LOSSES, LossTests


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "always_a_team")
class TestLosses(LossTests):
    @pytest.fixture(autouse=True, params=LOSSES)
    def choose_loss(self, request):
        self.loss = LOSSES[request.param]
        self.slow = SLOW_LOSSES.get(request.param)


@pytest.mark.parametrize("name", SLOW_LOSSES)
def test_a_loss_without_a_slow_twin_is_compared_with_differences(name):
    suite = LossTests()
    suite.loss = LOSSES[name]
    suite.test_value_and_gradient()
