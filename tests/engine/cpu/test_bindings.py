"""The compiled module: its stub, and the last checks before arrays become pointers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import kflow
from kflow.engine.cpu import _core

PROFILE = _core.Profile("gaussian", 1.0)

# ---- the stub ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stub():
    path = Path(_core.__file__).parent / "_core.pyi"
    if not path.is_file():
        pytest.skip("the stub is not here")
    return ast.parse(path.read_text(encoding="utf-8"))


def test_stub_names_every_member_and_no_other(stub):
    named = set()
    for node in stub.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            named.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            named.add(node.target.id)
    members = {name for name in dir(_core) if not name.startswith("_")} | {"__version__"}
    assert named == members


def signatures(member):
    """The names of the arguments in each signature of a docstring, without those of no name."""
    lines = re.findall(r"\((.*?)\) ->", member.__doc__)
    return {tuple(re.findall(r"(\w+): ", line)) for line in lines} - {()}


def arguments(function):
    return tuple(argument.arg for argument in function.args.args)


def test_stub_names_the_arguments(stub):
    for node in stub.body:
        if isinstance(node, ast.FunctionDef) and signatures(getattr(_core, node.name)):
            assert arguments(node) in signatures(getattr(_core, node.name)), node.name


@pytest.mark.parametrize("name", ["Profile.__init__", "LayerOptions.__init__", "Expression.append"])
def test_stub_names_the_arguments_of_methods(stub, name):
    class_name, method = name.split(".")
    body = next(node for node in stub.body if getattr(node, "name", "") == class_name).body
    stubbed = next(node for node in body if node.name == method)
    assert arguments(stubbed) in signatures(getattr(getattr(_core, class_name), method))


# ---- the build --------------------------------------------------------------------------------


def test_build():
    assert _core.__version__ == kflow.__version__
    assert _core.simd_levels() == kflow.build_config()["simd_levels"]


def test_set_simd_level(simd_level):
    before = _core.simd_level()
    for level in _core.simd_levels():
        simd_level(level)
        assert _core.simd_level() == level
    with pytest.raises(ValueError, match="'altivec' is not available"):
        simd_level("altivec")
    assert _core.simd_level() == _core.simd_levels()[-1]
    simd_level(before)


# ---- arguments --------------------------------------------------------------------------------


def test_nothing_is_converted():
    # Every array is taken as it is: a copy would hide an output that never arrives.
    good = np.zeros((3, 2))
    for bad in (good.astype(np.float32), good.astype(int), np.zeros((2, 3)).T, good[::-1]):
        with pytest.raises(TypeError):
            _core.gram(bad, good, PROFILE, np.empty((3, 3)), 1)
        with pytest.raises(TypeError):
            _core.apply(good, good, good, PROFILE, 1.0, None, bad, 1)
    frozen = np.empty((3, 3))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        _core.gram(good, good, PROFILE, frozen, 1)


def test_unknown_families_are_refused():
    with pytest.raises(ValueError, match="unknown kernel family 'sigmoid'"):
        _core.Profile("sigmoid", 1.0, 1.0)


def options(**changes):
    return _core.LayerOptions(
        **{
            "profile": PROFILE,
            "nugget": 1.0,
            "step": "fixed",
            "step_size": 1.0,
            "gradient_cap": 1.0,
            "n_coarse": 2,
            "n_halves": 1,
            "over_batch": False,
            **changes,
        }
    )


def test_options_of_a_layer():
    with pytest.raises(ValueError, match="step: unknown rule 'newton'"):
        options(step="newton")
    with pytest.raises(ValueError, match="n_halves must be at least 1"):
        options(n_halves=0)


@pytest.fixture
def flow_layer():
    """Arguments of a layer of a flow of 5 points."""
    X = np.zeros((5, 2))
    return {
        "sets": [(X, X.copy())],
        "pending": 0.0,
        "settled": np.zeros(1, np.intp),
        "layer": 0,
        "Y": np.zeros((5, 1)),
        "labels": None,
        "batch": np.arange(4),
        "further_halves": np.zeros((0, 2), np.intp),
        "options": options(),
        "z": np.zeros((4, 2)),
        "c": np.zeros((4, 2)),
        "workspace": _core.Batch(),
        "n_threads": 1,
    }


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("sets", []),
        ("settled", np.zeros(2, np.intp)),
        ("Y", np.zeros((4, 1))),
        ("labels", np.zeros(4, np.intc)),
        ("batch", np.array([0, 1, 2, 5])),
        ("z", np.zeros((4, 3))),
        ("c", np.zeros((4, 1))),
    ],
)
def test_a_layer_of_a_flow(name, bad, flow_layer):
    _core.flow_layer(**flow_layer)
    with pytest.raises((ValueError, IndexError), match=name):
        _core.flow_layer(**{**flow_layer, name: bad})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("n_coarse", {"options": options(n_coarse=4)}),
        (
            "further_halves",
            {"options": options(n_halves=2), "further_halves": np.array([[0, 4]])},
        ),
        ("further_halves", {"options": options(n_halves=2)}),
        ("further_halves", {"further_halves": np.array([[0, 1]])}),
    ],
)
def test_halves_of_a_layer(name, changes, flow_layer):
    with pytest.raises((ValueError, IndexError), match=name):
        _core.flow_layer(**{**flow_layer, **changes})


def test_sets_of_a_flow(flow_layer):
    X = np.zeros((5, 2))
    for displacement in (np.zeros((5, 3)), np.zeros((5, 0)), np.zeros((4, 2))):
        with pytest.raises(ValueError, match="displacement"):
            _core.flow_layer(**{**flow_layer, "sets": [(X, displacement)]})
    one = [(X, np.zeros((5, 1))), (X.copy(), np.zeros((5, 2)))]
    with pytest.raises(ValueError, match="displacement"):
        _core.flow_layer(**{**flow_layer, "sets": one, "c": np.zeros((4, 1))})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("sets", [(np.zeros((5, 2), np.float32), np.zeros((5, 2)))]),
        ("Y", np.zeros((5, 1), np.float32)),
        ("batch", np.arange(4, dtype=np.int32)),
        ("z", np.zeros((2, 4)).T),
    ],
)
def test_dtypes_and_memory_layouts_of_a_layer(name, bad, flow_layer):
    with pytest.raises((TypeError, ValueError)):
        _core.flow_layer(**{**flow_layer, name: bad})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Y", {"Y": np.zeros((5, 1))}),
        ("labels", {"labels": np.zeros(5, np.intc)}),
        (
            "further_halves",
            {"options": options(n_halves=2), "further_halves": np.array([[0, 4]])},
        ),
        ("n_coarse", {"options": options(n_coarse=0)}),
        ("c", {"c": np.zeros((4, 3))}),
    ],
)
def test_a_layer_of_a_batch(name, changes, flow_layer):
    good = {
        key: value
        for key, value in flow_layer.items()
        if key not in ("sets", "pending", "settled", "layer", "batch")
    }
    good["Y"] = np.zeros((4, 1))
    _core.batch_layer(**good)
    with pytest.raises((ValueError, IndexError), match=name):
        _core.batch_layer(**{**good, **changes})


@pytest.mark.parametrize(
    ("name", "points", "layer"),
    [
        ("z", np.zeros((5, 2)), (np.zeros((4, 3)), np.zeros((4, 2)), 1.0)),
        ("c", np.zeros((5, 2)), (np.zeros((4, 2)), np.zeros((4, 3)), 1.0)),
        ("c must have shape", np.zeros((5, 2)), (np.zeros((4, 2)), np.zeros((4, 0)), 1.0)),
        ("points", np.zeros(5), (np.zeros((4, 2)), np.zeros((4, 2)), 1.0)),
    ],
)
def test_replay(name, points, layer):
    z = np.zeros((4, 2))
    _core.replay(np.zeros((5, 2)), [(z, z, 1.0)], PROFILE, 1)
    with pytest.raises(ValueError, match=name):
        _core.replay(points, [(z, z, 1.0), layer], PROFILE, 1)


@pytest.mark.parametrize("function", [_core.push_layer_forward, _core.pull_layer_back])
def test_derivatives_of_a_layer(function):
    x, z = np.zeros((5, 2)), np.zeros((4, 2))
    function(x, z, z, PROFILE, x.copy(), 1)
    for name, arguments in {
        "z": (np.zeros((4, 3)), z, PROFILE, x.copy()),
        "c": (z, np.zeros((3, 2)), PROFILE, x.copy()),
        "c must have shape": (z, np.zeros((4, 0)), PROFILE, x.copy()),
        "[at] must have shape": (z, z, PROFILE, np.zeros((4, 2))),
    }.items():
        with pytest.raises(ValueError, match=name):
            function(x, *arguments, 1)


def test_expressions():
    with pytest.raises(ValueError, match="unknown operation"):
        _core.Expression().append("power")
    with pytest.raises(IndexError, match="earlier terms"):
        _core.Expression().append("sum", left=0, right=1)
    with pytest.raises(ValueError, match="needs a profile"):
        _core.Expression().append("leaf", source=0)
    empty, out = _core.Expression(), np.empty((1, 1))
    with pytest.raises(ValueError, match="no terms"):
        _core.evaluate(empty, [out], [out], [], out, 1)
    empty.append("leaf", profile=PROFILE, source=1)
    with pytest.raises(IndexError, match="source"):
        _core.evaluate(empty, [out], [out], [], out, 1)


def test_losses():
    K, Y, out = np.eye(4), np.ones((4, 1)), np.empty((4, 4))
    half = np.array([[0, 1]])
    for bad in ([[0, 4]], [[-1, 0]]):
        with pytest.raises(IndexError, match="halves holds a row"):
            _core.loss_rho(K, Y, np.array(bad), out, 1)
    with pytest.raises(ValueError, match="halves holds a row twice"):
        _core.loss_rho(K, Y, np.array([[1, 1]]), out, 1)
    with pytest.raises(ValueError, match="halves must have shape"):
        _core.loss_e2(K, Y, np.empty((1, 0), np.intp), out, 1)
    with pytest.raises(IndexError, match="pairs holds a row"):
        _core.loss_lyapunov(K, Y, half, np.array([[2, 4]]), out, 1)
    with pytest.raises(IndexError, match="folds holds a row"):
        _core.loss_kfold(K, Y, np.array([0, 1, 0, -1]), out, 1)
    with pytest.raises(ValueError, match="K must have shape"):
        _core.loss_nlml(K[:3], Y[:3], out, 1)
    with pytest.raises(ValueError, match="Y must have shape"):
        _core.loss_nlml(K, Y[:3], out, 1)
    with pytest.raises(ValueError, match="gradient must have shape"):
        _core.loss_nlml(K, Y, out[:3], 1)
