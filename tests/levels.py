"""Runs a piece of Python under another instruction set, which is chosen when the library is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_EPILOGUE = "\nimport numpy, sys; numpy.savez(sys.argv[1], **results)"


def run_python(code: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that can import what stands beside this file."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_under(isa: str, code: str, threads: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """Run code that assigns `results`, a dict of arrays, at one level; return them."""
    env = {"TERCET_ISA": isa} | ({} if threads is None else {"TERCET_NUM_THREADS": str(threads)})
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "results.npz")
        done = run_python(code + _EPILOGUE, out, **env)
        assert done.returncode == 0, f"under {isa}:\n{done.stderr}"
        with np.load(out) as results:
            return dict(results)


def same_bits(a: npt.ArrayLike, b: npt.ArrayLike) -> bool:
    """Tell whether two arrays are equal to the last bit; a NaN equals any NaN, 0.0 is not -0.0."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype != np.float32:
        return bool(np.all(a == b))
    return bool(np.all((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))))
