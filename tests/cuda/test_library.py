"""Finding and loading the library: what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import tercet
from levels import run_python
from tercet.cuda import library

ASK = "import tercet; print(tercet.cuda.is_available(), tercet.cuda.why_unavailable(), sep='|')"


def test_a_build_without_it(tmp_path: Path) -> None:
    if Path(tercet._core.__file__).with_name("libtercet_cuda.so").is_file():
        pytest.skip("this build has it")
    done = run_python(ASK, TERCET_CUDA_LIBRARY="")
    assert done.stdout == (
        "False|this build of tercet has no libtercet_cuda.so: "
        "pip install with -Ccmake.define.TERCET_CUDA=ON makes it\n"
    ), done.stderr


def test_a_name_of_nothing(tmp_path: Path) -> None:
    done = run_python(ASK, TERCET_CUDA_LIBRARY=str(tmp_path / "none.so"))
    assert done.stdout == f"False|TERCET_CUDA_LIBRARY names {tmp_path / 'none.so'}, which is no file\n"


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("not a library")
    done = run_python(ASK, TERCET_CUDA_LIBRARY=str(path))
    assert done.stdout.startswith(f"False|{path}: "), done.stderr


def test_a_library_of_something_else(tmp_path: Path) -> None:
    path = Path(tercet._core.__file__)
    done = run_python(ASK, TERCET_CUDA_LIBRARY=str(path))
    assert done.stdout == (
        f"False|{path}: expected the CUDA library of this version of tercet (ABI 2), got None\n"
    ), done.stderr


def test_errors_say_why() -> None:
    code = """if True:
        import numpy as np, tercet
        index = tercet.FlatIndex(2)
        for call in (index.to_device, tercet.MultiVectorIndex(2).to_device):
            try:
                call()
            except RuntimeError as e:
                print(e)
    """
    done = run_python(code, TERCET_CUDA_LIBRARY="nowhere.so")
    assert done.stdout == "tercet.cuda: TERCET_CUDA_LIBRARY names nowhere.so, which is no file\n" * 2, (
        done.stderr
    )


def test_importing_it_imports_no_other_library() -> None:
    code = "import sys, tercet.cuda; print({'torch', 'cupy', 'numba', 'jax'} & set(sys.modules))"
    assert run_python(code).stdout == "set()\n"


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'tercet' has no attribute 'cudas'"):
        tercet.cudas  # noqa: B018


@pytest.mark.usefixtures("device")
def test_a_driver_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.Library, "devices", lambda self: 0)
    library._load.cache_clear()
    assert library.why_unavailable() == "there is no CUDA device"
    with pytest.raises(RuntimeError, match=r"tercet\.cuda: there is no CUDA device"):
        library.load()
    monkeypatch.undo()
    monkeypatch.setattr(library.Library, "capability", lambda self, device: (7, 5))
    library._load.cache_clear()
    assert library.why_unavailable() == "expected a device of compute capability 8.0 or more, got 7.5"
    monkeypatch.undo()
    library._load.cache_clear()
    assert library.why_unavailable() is None
