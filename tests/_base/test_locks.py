from __future__ import annotations

import copy
import os
import pickle
import signal
import threading

import pytest

from kflow._base.locks import OwnLock, Turn


def in_thread(action):
    results = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    thread.join()
    return results[0]


def raises(action):
    try:
        action()
    except RuntimeError as error:
        return str(error)
    return None


def test_an_own_lock_is_reentrant_and_its_copies_are_free():
    lock = OwnLock()
    with lock, lock:
        for other in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            assert in_thread(lambda other=other: other.__enter__()) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have():
    lock, held, leave = OwnLock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        with lock:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    leave.set()
    thread.join()


def test_nobody_waits_for_a_turn():
    turn = Turn("taken")
    turn.check()
    with turn:
        turn.check()  # its own thread knows
        assert raises(turn.__enter__) == "taken"
        assert in_thread(lambda: raises(turn.__enter__)) == "taken"
        assert in_thread(lambda: raises(turn.check)) == "taken"
        assert raises(copy.deepcopy(turn).__enter__) is None
    assert in_thread(lambda: raises(turn.check)) is None
    with pytest.raises(ValueError, match="inside"), turn:
        raise ValueError("inside")
    with turn:
        pass
