"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tercet
from levels import run_python

ROOT = Path(__file__).parent.parent
CSRC, PYTHON = ROOT / "csrc", ROOT / "python" / "tercet"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="needs the source tree")

# Who may know whom.
LAYERS = {
    "core": {"core"},
    "cpu": {"core", "cpu"},
    "kernels": {"core", "cpu", "kernels"},
    "codec": {"core", "cpu", "kernels", "codec"},
    "storage": {"core", "storage"},
    "index": {"core", "cpu", "kernels", "codec", "storage", "index"},
    "cuda": {"core", "cuda"},
    "bindings": {"core", "cpu", "kernels", "codec", "storage", "index", "bindings"},
}
# What is compiled with more than the baseline's instructions, and what that may include: nothing with inline
# code, of which the linker could keep the copy that other machines cannot run.
LEVEL_FILES = (
    "kernels/avx2.cc",
    "kernels/avx512*.cc",
    "kernels/neon*.cc",
    "kernels/amx*.cc",
    "kernels/*-inl.h",
)
PLAIN_HEADERS = {"immintrin.h", "arm_neon.h", "cstddef", "cstdint"}


def sources() -> Iterator[Path]:
    for pattern in ("*.cc", "*.h", "*.cu", "*.cuh"):
        yield from sorted(CSRC.rglob(pattern))


def name(path: Path) -> str:
    return path.relative_to(CSRC).as_posix()


def includes(path: Path) -> list[tuple[str, bool]]:
    """(what, whether it is ours) of every #include."""
    found = re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.M)
    return [(what, quote == '"') for quote, what in found]


# ---- C++


def test_layers() -> None:
    seen = set()
    for path in sources():
        layer = name(path).split("/")[0]
        seen.add(layer)
        for what, ours in includes(path):
            if ours:
                assert (CSRC / what).is_file(), f"{name(path)}: no {what}"
                assert what.split("/")[0] in LAYERS[layer], f"{name(path)} must not know {what}"
    assert seen == set(LAYERS)


def test_who_includes_what() -> None:
    for path in sources():
        for what, _ in includes(path):
            if what.startswith(("pybind11", "Python.h")):
                assert name(path).startswith("bindings/"), f"{name(path)}: {what}"
            if what in ("immintrin.h", "arm_neon.h") or what.endswith("mmintrin.h"):
                assert name(path).startswith("kernels/"), f"{name(path)}: {what}"
            assert not what.startswith("omp"), f"{name(path)}: {what}"
            if what.startswith("cuda") and not what.startswith("cuda/"):
                assert name(path) == "cuda/warp.cuh", f"{name(path)}: {what}"


def test_intrinsics_stay_in_kernels() -> None:
    for path in sources():
        if not name(path).startswith("kernels/"):
            assert not re.search(r"\b(_mm\d*_|__m\d{3}|vld1q?_)", path.read_text()), name(path)


def test_one_file_knows_the_machine_of_cuda() -> None:
    """Kernels use the names of warp.cuh alone, so that the emulator runs what the device runs."""
    for path in CSRC.rglob("cuda/*.cu*"):
        if path.name != "warp.cuh":
            text = re.sub(r"//.*", "", path.read_text())
            assert not re.search(r"\basm\b|__(?!CUDACC__)\w+|<<<|\b(thread|block|grid)(Idx|Dim)\b", text), (
                name(path)
            )


def test_level_files_see_no_inline_code() -> None:
    checked = set()
    waiting = [path for pattern in LEVEL_FILES for path in CSRC.glob(pattern)]
    levels = {"avx2", "avx512", "avx512_bf16", "amx", "neon", "neon_i8mm"}
    assert {f"kernels/{level}.cc" for level in levels} <= {name(p) for p in waiting}
    while waiting:
        path = waiting.pop()
        if path in checked:
            continue
        checked.add(path)
        for what, ours in includes(path):
            if ours:
                waiting.append(CSRC / what)
            else:
                assert what in PLAIN_HEADERS, f"{name(path)}: <{what}>"


def test_every_source_is_built() -> None:
    build = (ROOT / "CMakeLists.txt").read_text()
    listed = set(re.findall(r"(?<!/)csrc/[\w/-]+\.(?:cc|cu)\b", build))
    assert listed == {f"csrc/{name(p)}" for p in sources() if p.suffix in (".cc", ".cu")}


def test_build_flags() -> None:
    files = [
        ROOT / "CMakeLists.txt",
        ROOT / "pyproject.toml",
        *ROOT.glob("CMakePresets.json"),
        *ROOT.glob("cmake/*"),
    ]
    for path in files:
        text = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
        assert not re.search(r"march=native|fast-math|fopenmp|OpenMP|/openmp", text), path.name
    assert "-ffp-contract=off" in files[0].read_text()


# ---- both


def test_long_files_say_why() -> None:
    """400 lines of C++, 200 of bindings, 300 of Python: more needs a word at the head about the length."""
    for path in [*sources(), *sorted(PYTHON.rglob("*.py"))]:
        lines = path.read_text().splitlines()
        limit = 300 if path.suffix == ".py" else 200 if name(path).startswith("bindings/") else 400
        if len(lines) > limit:
            head = " ".join(lines[:12])
            why = re.search(r"\b(long|longer|lines|one file)\b", head)
            assert why, (
                f"{path.relative_to(ROOT)}: {len(lines)} lines, at most {limit} without a reason at its head"
            )


def test_every_file_says_what_it_is() -> None:
    for path in sources():
        assert path.suffix in (".cc", ".cu") or path.read_text().startswith("//"), name(path)
        assert (
            path.suffix not in (".h", ".cuh")
            or "#pragma once" in path.read_text()
            or (name(path).endswith("-inl.h"))
        ), name(path)
    for path in PYTHON.rglob("*.py"):
        assert path.read_text().startswith('"""'), path.relative_to(ROOT)


def test_versions_agree() -> None:
    project = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert project
    assert tercet.__version__ == tercet._core.__version__ == project[1]


# ---- Python


def test_importing_needs_numpy_alone() -> None:
    code = """if True:
        import sys
        before = set(sys.modules)
        import tercet
        print(*{m.split(".")[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    loaded = {
        m for m in done.stdout.split() if not m.startswith(("_", "cython"))
    }  # what Cython makes for numpy
    assert loaded == {"numpy", "tercet"}


def test_models_need_torch_only_when_used() -> None:
    done = run_python("import sys, tercet.models, tercet.cli; print('torch' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_only_models_know_model_libraries() -> None:
    for path in PYTHON.rglob("*.py"):
        if "models" not in path.parts:
            text = path.read_text()
            assert not re.search(
                r"^\s*(import|from) (torch|transformers|sentence_transformers|onnxruntime|tokenizers)\b",
                text,
                re.M,
            ), path
        if "onnx" in path.parts:
            assert not re.search(
                r"^\s*(import|from) (torch|transformers|safetensors)\b", path.read_text(), re.M
            )


def test_public_names() -> None:
    for public in tercet.__all__:
        assert getattr(tercet, public) is not None
        assert public == "__version__" or getattr(tercet, public).__doc__


def test_completion_shows_what_is_public() -> None:
    from tercet import compat, cuda, models
    from tercet.compat import hnswlib, pylate

    assert dir(tercet) == sorted([*tercet.__all__, "compat", "cuda"])
    for module in (compat, cuda, models, hnswlib, pylate):
        assert dir(module) == sorted(module.__all__)


def check(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_types() -> None:
    pytest.importorskip("mypy")
    check("mypy", "--strict")


@pytest.mark.slow
def test_stub_is_the_native_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mypy")
    monkeypatch.setenv("MYPYPATH", str(ROOT / "python"))
    allowed = tmp_path / "allowed"
    allowed.write_text(
        "tercet\\._core\\.(Floats|Ints|Array|Ids|Filters)\n"  # types, named in the stub alone
        # These have pybind11's metaclass:
        "tercet\\._core\\.(Container|FlatIndex|HNSWIndex|MultiVectorIndex|Steps)\n"
    )
    options = ["--ignore-missing-stub", "--ignore-unused-allowlist", "--allowlist", str(allowed)]
    options += ["--mypy-config-file", "pyproject.toml"]  # which says who has no types
    check("mypy.stubtest", "tercet._core", *options)


def test_stub_has_the_parameters_of_the_native_module() -> None:
    """stubtest cannot see them; pybind11 writes them into the docstrings."""
    stub = ast.parse((PYTHON / "_core.pyi").read_text())
    classes = {c.name: c for c in stub.body if isinstance(c, ast.ClassDef)}
    compared = 0
    for owner, body in [("", stub.body), *((c.name, c.body) for c in classes.values())]:
        native = getattr(tercet._core, owner) if owner else tercet._core
        public = {n for n in vars(native) if not n.startswith("_")} - set(classes)
        stubs = {f.name: f for f in body if isinstance(f, ast.FunctionDef)}
        assert public == set(stubs) - {"__init__"}, owner
        for function, signature in stubs.items():
            first_line = getattr(native, function).__doc__.split("\n")[0]
            want = [a.arg for a in signature.args.args if a.arg != "self"]
            got = re.findall(r"(?:\(|, )(\w+): ", re.sub(r"\[[^()]*?\]", "", first_line))
            assert [a for a in got if a != "self"] == want, first_line
            compared += 1
    assert compared > 30
