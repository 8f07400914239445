"""A device for the tests: a real one where there is one, else the kernels in an emulator of a warp.

``TERCET_TEST_CUDA=emulated`` takes the emulator on any machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercet.cuda import library

ROOT = Path(__file__).parent.parent.parent
EMULATOR = ROOT / "tests" / "csrc" / "cuda"


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What tests run on: "device" or "emulated"."""
    if os.environ.get("TERCET_TEST_CUDA") != "emulated" and library.why_unavailable() is None:
        yield "device"
        return
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None or os.name != "posix" or not EMULATOR.is_dir():
        pytest.skip(f"{library.why_unavailable()}; the emulator needs the source tree and g++ or clang++")
    path = tmp_path_factory.mktemp("cuda") / "libtercet_cuda_emulated.so"
    sources = [EMULATOR / f"{name}.cc" for name in ("emulator", "kernels_emulated", "runtime_emulated")]
    subprocess.run(
        [compiler, "-std=c++20", "-O1", "-ffp-contract=off", "-fPIC", "-shared",
         f"-I{ROOT / 'csrc'}", f"-I{EMULATOR}", *map(str, sources), "-o", str(path)],
        check=True,
    )  # fmt: skip
    before = os.environ.get("TERCET_CUDA_LIBRARY")
    os.environ["TERCET_CUDA_LIBRARY"] = str(path)
    library._load.cache_clear()
    assert library.why_unavailable() is None
    yield "emulated"
    if before is None:
        del os.environ["TERCET_CUDA_LIBRARY"]
    else:
        os.environ["TERCET_CUDA_LIBRARY"] = before
