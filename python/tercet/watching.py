"""Says how far long work of the native code is, from the thread that asked for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeAlias

from tercet import _core

__all__ = ["Watcher", "watched"]

Watcher: TypeAlias = Callable[[int, int], object]  # called with how much is done, and of how much

_INTERVAL = 0.2  # seconds between two looks


def watched(work: Callable[[_core.Steps], None], progress: Watcher | None) -> None:
    """Run ``work`` in another thread meanwhile, if somebody wants to know how far it is."""
    steps = _core.Steps()
    if progress is None:
        work(steps)
        return
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work, steps)
        while wait([job], _INTERVAL).not_done:
            progress(steps.done(), steps.total())
    job.result()
    progress(steps.total(), steps.total())
