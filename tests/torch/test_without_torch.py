from __future__ import annotations

import json

import pytest


@pytest.mark.slow
def test_the_error_says_what_to_install(run_python):
    done = run_python("""
import sys
sys.modules["torch"] = None
import kflow
try:
    kflow.torch.rho
except ImportError as error:
    print(error)
""")
    assert "pip install kflow[torch]" in done.stdout


@pytest.mark.slow
def test_the_package_does_not_import_it(run_python):
    done = run_python("""
import json, sys, kflow
kflow.learn_kernel, kflow.KernelFlowClassifier, "torch" in dir(kflow)
print(json.dumps("torch" in sys.modules))
""")
    assert json.loads(done.stdout) is False
