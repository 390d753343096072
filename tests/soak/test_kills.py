from __future__ import annotations

import pytest
from soak.kills import KilledFlow


@pytest.mark.slow
def test_a_flow_that_is_killed_goes_on_to_the_same_points():
    killed = KilledFlow(0)
    killed.run()
    assert killed.n_flows == 1
    assert killed.n_kills > 0
