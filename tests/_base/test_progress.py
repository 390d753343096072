from __future__ import annotations

from kflow._base import progress
from kflow._base.progress import flow_progress, learning_progress, step_progress


def test_what_a_bar_shows(capsys):
    with flow_progress(3, n_before=2) as advance:
        for rho in (0.5, 0.4, 0.25):
            advance(rho)
    with learning_progress(1) as advance:
        advance(2.0)
    with step_progress(1, "file") as advance:
        advance()
    shown = capsys.readouterr()
    assert not shown.out
    for text in ("layer 5/5", "rho 0.250", "step 1/1", "loss 2", "file 1/1"):
        assert text in shown.err


def test_notebooks_without_widgets_have_one_line(monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", {}.get)
    with step_progress(2, "file") as advance:
        advance()
        advance()
    shown = capsys.readouterr().err
    assert "\r" in shown
    assert "2/2" in shown
