from __future__ import annotations

from kflow.plotting.colours import CLASS_COLOURS, class_style


def test_seventy_classes_look_different():
    assert len({class_style(code) for code in range(70)}) == 70
    assert len(set(CLASS_COLOURS)) == 10
