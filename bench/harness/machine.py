"""The one core we measure on, and what has to be said about the machine."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import tercet

# Read by the libraries when they are loaded, so it has to stand in the environment before.
SINGLE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "RAYON_NUM_THREADS",
    )
}

DEFAULT_CACHES = {1: 32 << 10, 2: 1 << 20, 3: 32 << 20}


@contextlib.contextmanager
def one_core(core: int | None) -> Iterator[str]:
    """Keep this process, and those it starts, on one core; yields a phrase that says which.

    None takes the last one allowed (the first often serves the interrupts), a negative number pins nothing.
    """
    if not hasattr(os, "sched_setaffinity") or (core is not None and core < 0):
        yield "not pinned to a core"
        return
    before = os.sched_getaffinity(0)
    chosen = max(before) if core is None else core
    os.sched_setaffinity(0, {chosen})
    try:
        yield f"pinned to core {chosen} of {os.cpu_count()}"
    finally:
        os.sched_setaffinity(0, before)


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cache_bytes() -> dict[int, int]:
    """Return bytes of the data caches by level, typical ones where the system does not say."""
    found: dict[int, int] = {}
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with contextlib.suppress(OSError, ValueError):
            if (entry / "type").read_text().strip() == "Instruction":
                continue
            size = (entry / "size").read_text().strip()
            unit = {"K": 1 << 10, "M": 1 << 20}[size[-1]]
            found[int((entry / "level").read_text())] = int(size[:-1]) * unit
    return {**DEFAULT_CACHES, **found}


def describe(settings: str) -> list[str]:
    """Return the lines at the head of every table; ``settings`` says how the numbers were taken."""
    info = tercet.cpu_info()
    kernels = ", ".join(f"{form}: {kernel}" for form, kernel in info["kernels"].items())
    caches = " / ".join(f"{size >> 10:,} KiB" for _, size in sorted(cache_bytes().items()))
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return [
        f"{cpu_model()}, caches {caches}; {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}{load}",
        f"tercet {tercet.__version__} ({kernels}); {settings}",
    ]
