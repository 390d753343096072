"""Rules of the code that no compiler checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "csrc"
SUFFIXES = {".cpp", ".hpp", ".inl", ".h", ".hh", ".cc"}
# Comments may mention anything.
COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

needs_sources = pytest.mark.skipif(
    not SOURCES.is_dir() or not (ROOT / "CMakeLists.txt").is_file(),
    reason="the C++ sources are not here",
)


def code_of(path):
    return COMMENTS.sub("", path.read_text(encoding="utf-8"))


def sources():
    files = {p.relative_to(ROOT).as_posix(): code_of(p) for p in SOURCES.rglob("*") if is_code(p)}
    assert len(files) > 20
    return files


def is_code(path):
    return path.suffix in SUFFIXES


@needs_sources
def test_threads_start_in_one_place_with_a_given_number():
    pragma = re.compile(r"#\s*pragma\s+omp\b[^\n]*|_Pragma\s*\(\s*\"omp\b[^\n]*")
    found = {name: pragma.findall(code) for name, code in sources().items()}
    assert [name for name, pragmas in found.items() if pragmas] == ["csrc/core/parallel.hpp"]
    for line in found["csrc/core/parallel.hpp"]:
        assert "num_threads(" in line


@needs_sources
def test_no_other_threads():
    for name, code in sources().items():
        if name.startswith("csrc/tests/"):
            continue
        # Where OpenMP's threads are tried beforehand, and replaced for ThreadSanitizer.
        kinds = (
            "jthread|async" if name.startswith("csrc/core/parallel.") else "thread|jthread|async"
        )
        assert not re.search(rf"std::({kinds})\b|pthread_create", code), name


@needs_sources
def test_python_stays_in_the_bindings():
    python = re.compile(r"#\s*include\s*[<\"](pybind11|Python\.h|numpy)")
    users = {name for name, code in sources().items() if python.search(code)}
    assert users
    assert {str(Path(name).parent) for name in users} == {"csrc/bindings"}


@needs_sources
def test_intrinsics_stay_in_the_simd_levels():
    intrinsics = re.compile(
        r"#\s*include\s*<(\w*mmintrin|immintrin|x86intrin|arm_neon|arm_sve)\.h>"
        r"|\b_mm(256|512)?_\w+\s*\(|\b__m(128|256|512)[di]?\b|\bv(ld|st)1q?_\w+\s*\("
    )
    users = {name for name, code in sources().items() if intrinsics.search(code)}
    assert users
    assert {str(Path(name).parent) for name in users} == {"csrc/simd"}


@needs_sources
def test_public_headers_include_only_each_other_and_the_standard_library():
    for name, code in sources().items():
        if name.startswith("csrc/include/"):
            for header in re.findall(r'#\s*include\s*"([^"]+)"', code):
                assert header.startswith("kflow/"), f"{name} includes {header}"


@needs_sources
def test_no_flag_that_breaks_portability_or_arithmetic():
    forbidden = re.compile(
        r"-march=native|-mtune=native|-mcpu=native|-ffast-math|-Ofast|-funsafe-math-optimizations"
        r"|-fassociative-math|-ffinite-math-only|/fp:fast"
    )
    files = [ROOT / "CMakeLists.txt", ROOT / "CMakePresets.json", ROOT / "pyproject.toml"]
    files += [*(ROOT / "cmake").rglob("*"), *SOURCES.rglob("CMakeLists.txt")]
    files += [*SOURCES.rglob("*.cmake"), *(path for path in SOURCES.rglob("*") if is_code(path))]
    for path in files:
        if path.is_file():
            text = re.sub(r"#[^\n]*", "", path.read_text(encoding="utf-8"))
            assert not forbidden.search(text), path


@needs_sources
def test_headers_are_included_once():
    for name in sources():
        if name.endswith(".hpp"):
            assert "#pragma once" in (ROOT / name).read_text(encoding="utf-8"), name
