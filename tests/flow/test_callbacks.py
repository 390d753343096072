from __future__ import annotations

import pytest

from kflow.flow.callbacks import StatefulCallback, callback_states, ends_flow, set_callback_states


class Counter:
    def __init__(self):
        self.count = 0

    def __call__(self, _flow):
        self.count += 1

    def to_state(self):
        return self.count

    def from_state(self, state):
        self.count = state


def plain(_flow):
    return None


def test_states_go_to_those_that_have_one():
    callbacks = [plain, Counter(), plain, Counter()]
    callbacks[1].count, callbacks[3].count = 3, 5
    states = callback_states(callbacks)
    assert states == [{"class": "Counter", "state": 3}, {"class": "Counter", "state": 5}]
    fresh = [Counter(), Counter(), plain]
    set_callback_states(fresh, states)
    assert [callback.count for callback in fresh[:2]] == [3, 5]
    assert isinstance(fresh[0], StatefulCallback)
    assert not isinstance(plain, StatefulCallback)
    set_callback_states([plain], [])


@pytest.mark.parametrize("callbacks", [[], [Counter()], [Counter(), Counter(), Counter()]])
def test_others_than_before(callbacks):
    states = callback_states([Counter(), Counter()])
    with pytest.raises(ValueError, match=r"callbacks: the flow had \['Counter', 'Counter'\]"):
        set_callback_states(callbacks, states)


def test_which_of_them_end_a_flow():
    counter = Counter()
    assert ends_flow(counter)
    assert ends_flow(plain)
    counter.interrupts = True
    assert not ends_flow(counter)
