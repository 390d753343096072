"""What is told where PyTorch is missing, and that nothing else asks for it."""

from __future__ import annotations


def test_the_remedy_is_named(run_python):
    done = run_python(
        """
        import sys
        sys.modules["torch"] = None
        import kflow
        try:
            kflow.KernelFlow(n_layers=1, device="cuda")
        except ImportError as error:
            print(error)
        """
    )
    assert "pip install 'kflow[torch]'" in done.stdout


def test_kflow_does_not_import_it(run_python):
    run_python(
        """
        import sys
        import kflow
        kflow.KernelFlow(n_layers=1, batch_size=4).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0])
        assert "torch" not in sys.modules
        """
    )
