from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kflow._base.file_lock import lock_file


@pytest.fixture
def descriptors(tmp_path):
    """Two descriptors of one file."""
    handles = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield handles
    for handle in handles:
        os.close(handle)


def test_one_descriptor_has_the_lock_until_it_is_closed(descriptors):
    first, second = descriptors
    lock_file(first)
    with pytest.raises(BlockingIOError):
        lock_file(second)
    descriptors[0] = os.open(os.devnull, os.O_RDWR)
    os.close(first)
    lock_file(second)


def test_a_lock_holds_against_other_processes_and_ends_with_its_own(descriptors, tmp_path):
    program = (
        "import os, sys; from kflow._base.file_lock import lock_file;"
        "lock_file(os.open(sys.argv[1], os.O_RDWR)); print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout.readline().strip() == b"locked"
        with pytest.raises(BlockingIOError):
            lock_file(descriptors[0])
        other.kill()
        other.wait()
        lock_file(descriptors[0])
