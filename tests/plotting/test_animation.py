from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
from PIL import Image

import kflow
from kflow.plotting import FlowAnimation
from kflow.plotting.animation import evenly_moved


@pytest.fixture(scope="module")
def animation(classifier, data):
    return FlowAnimation.from_estimator(classifier, *data, n_points=40, n_frames=5)


def test_frames_are_a_replay_of_some_of_the_points(animation, classifier):
    assert animation.points.shape == (5, 40, 2)
    assert (animation.layers[0], animation.layers[-1]) == (0, classifier.flow_.n_layers_)
    assert animation.layers == sorted(set(animation.layers))
    assert np.isfinite(animation.points).all()


def test_the_same_seed_draws_the_same_points(animation, classifier, data):
    again = FlowAnimation.from_estimator(classifier, *data, n_points=40, n_frames=5)
    np.testing.assert_array_equal(again.points, animation.points)


def test_the_map_by_classes_parts_classes_better_than_principal_directions(classifier, data):
    def ratio(projection):
        found = FlowAnimation.from_estimator(classifier, *data, projection=projection)
        return kflow.evaluation.class_distance_ratio(found.points[-1], found.labels)

    assert ratio("auto") == ratio("classes") <= ratio("pca")


def test_a_flow_in_the_plane_is_drawn_as_it_is():
    X = np.random.default_rng(0).normal(size=(30, 2))
    flow = kflow.KernelFlow(n_layers=6, batch_size=20, dtype="float64", random_state=0)
    found = FlowAnimation.from_estimator(flow.fit(X, X[:, 0]), X, n_frames=3)
    np.testing.assert_array_equal(found.points[0], X)
    np.testing.assert_array_equal(found.points[-1], flow.transform(X))


def test_a_flow_in_a_folder_is_replayed(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 3))
    flow = kflow.KernelFlow(n_layers=6, batch_size=20, random_state=0, checkpoint=tmp_path)
    found = FlowAnimation.from_estimator(flow.fit(X, X[:, 0]), X, X[:, 0] > 0)
    assert found.layers == list(range(7))


def test_frames_are_where_points_move():
    far = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    points = np.stack([np.column_stack([np.full(3, x), np.zeros(3)]) for x in far])
    flow = evenly_moved(points, 6)
    assert flow[0] == 0
    assert flow[-1] == 10
    assert (flow >= 5).sum() >= 4


def test_gif(animation, tmp_path):
    animation.save(tmp_path / "flow.gif", size=120)
    with Image.open(tmp_path / "flow.gif") as image:
        assert (image.n_frames, image.size) == (5, (120, 120))
        image.seek(4)
        assert image.info["duration"] == 2000


def test_page_holds_the_points_and_refers_to_nothing(animation, tmp_path):
    animation.save(tmp_path / "flow.html")
    page = (tmp_path / "flow.html").read_text("utf-8")
    assert not re.search(r"https?://|src=|@import", page)
    data = json.loads(re.search(r"^const data = (.*);$", page, re.MULTILINE)[1])
    assert data["layers"] == animation.layers
    assert data["names"] == ["a", "b", "c"]
    whole = np.frombuffer(base64.b64decode(data["points"]), "<i2").reshape(animation.points.shape)
    for a, b in zip(whole[0].T, animation.points[0].T, strict=True):
        np.testing.assert_allclose(np.corrcoef(a, b)[0, 1], 1.0, atol=1e-6)


def test_names_cannot_leave_the_script():
    names = ["</script>", "<!--<script>"]
    page = FlowAnimation(np.zeros((2, 2, 2)), names).to_html()
    assert [page.count(part) for part in ("<script>", "</script>", "<!--")] == [1, 1, 0]
    data = re.search(r"const data = (.*);\n", page)[1]
    assert json.loads(data)["names"] == sorted(names)
    assert "iframe" in FlowAnimation(np.zeros((2, 2, 2)), names)._repr_html_()


def test_one_frame_on_axes(animation):
    assert animation.plot(frame=0).ax_.get_title() == "n = 0"


def test_wrong_arguments(animation, classifier, data, tmp_path):
    with pytest.raises(ValueError, match=r"points must have shape \(f, n, 2\)"):
        FlowAnimation(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="layers must have 3 entries"):
        FlowAnimation(np.zeros((3, 4, 2)), layers=[0, 1])
    with pytest.raises(ValueError, match=r"end in \.gif or \.html"):
        animation.save(tmp_path / "flow.mp4")
    with pytest.raises(ValueError, match="needs classes: pass y"):
        FlowAnimation.from_estimator(classifier, data[0], projection="classes")
