"""Every engine passes the conformance suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kflow.engine import engine_names, get_engine
from kflow.testing.engines import EngineTests

pytestmark = pytest.mark.usefixtures("always_a_team")


@pytest.fixture(params=engine_names())
def tested(request):
    try:
        return get_engine(request.param)
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.slow
class TestEngine(EngineTests):
    @pytest.fixture(autouse=True)
    def _choose(self, tested):
        self.engine = tested

    def test_its_name_is_that_of_its_folder(self, tested):
        assert get_engine(tested.name) is tested

    def test_its_key_gives_it_elsewhere(self, tested):
        elsewhere = get_engine(*tested.key)
        assert type(elsewhere) is type(tested)
        assert (elsewhere.key, elsewhere.identity) == (tested.key, tested.identity)


def test_unknown_engines():
    with pytest.raises(ValueError, match=r"engine must be one of \('cpu'.*, got 'abacus'"):
        get_engine("abacus")


@pytest.mark.slow
def test_the_suite_needs_no_pytest():
    code = "import sys; sys.modules['pytest'] = None; import kflow.testing.engines"
    subprocess.run([sys.executable, "-c", code], check=True)
