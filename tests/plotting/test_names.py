from __future__ import annotations

import numpy as np
import pytest

from kflow.plotting.names import class_name, drawn_name, label_lines, moved_apart, name_class_means


def test_names():
    assert [class_name(label) for label in (1.0, -1, 0.5, "a", np.str_("b"))] == [
        "1", "-1", "0.5", "a", "b",
    ]  # fmt: skip


def test_names_are_no_formulas(ax):
    names = [r"$\foo$", "5 $ to 7 $", r"a\b"]
    texts = [ax.text(0, 0, drawn_name(name)) for name in names]
    ax.figure.canvas.draw()  # which refuses formulas that are none
    plain = [ax.text(0, 0, name, parse_math=False) for name in names]
    for text, expected in zip(texts, plain, strict=True):
        assert text.get_window_extent().width == pytest.approx(expected.get_window_extent().width)


def test_names_of_lines_are_apart_in_order(ax):
    ax.set_ylim(0, 10)
    heights = [1.0, 5.0, 5.01, 5.02, 9.0, 4.99]
    texts = label_lines(ax, 1.0, heights, list("abcdef"), ["k"] * 6)
    pixel = ax.figure.dpi / 72
    places = {
        text.get_text(): ax.transData.transform(text.xy)[1] + pixel * text.xyann[1]
        for text in texts
    }
    order = sorted(places, key=places.get)
    assert order == list("afbcde")
    middles = [places[name] for name in order]
    assert np.diff(middles).min() > 9.9 * pixel
    # Where there is room, a name is at its line.
    assert middles[0] == pytest.approx(ax.transData.transform((0, 1.0))[1], abs=3)


def test_the_name_of_a_collapsed_class_is_beside_it(ax, rng):
    points = rng.normal(size=(60, 2))
    codes = np.repeat([0, 1], 30)
    points[codes == 1] = [5.0, 5.0]
    ax.set_xlim(-3, 6)
    spread, dot = name_class_means(ax, points, np.array(["a", "b"]), codes)
    assert spread.get_position() == (0.0, 0.0)
    assert np.hypot(*dot.get_position()) == pytest.approx(14.0)


def test_names_are_moved_apart(rng):
    places = rng.normal(size=(10, 2)) * 5.0
    apart = moved_apart(places, (13.0, 14.0))
    for i in range(10):
        for j in range(i):
            overlap = np.array([13.0, 14.0]) - np.abs(apart[i] - apart[j])
            assert overlap.min() <= 0.5
    np.testing.assert_allclose(apart.mean(axis=0), places.mean(axis=0), atol=1e-9)


def test_names_that_do_not_overlap_stay():
    places = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    np.testing.assert_array_equal(moved_apart(places, (13.0, 14.0)), places)
    np.testing.assert_array_equal(moved_apart(places[:1], (13.0, 14.0)), places[:1])


def test_names_at_one_place_come_apart():
    apart = moved_apart(np.zeros((3, 2)), (10.0, 10.0))
    distances = np.abs(apart[:, None] - apart).max(axis=2)[np.triu_indices(3, 1)]
    assert (distances > 9.0).all()
