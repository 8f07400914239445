"""How far a long job is, on stderr: a bar where tqdm is installed, else a line."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Progress", "progress_is_shown"]

_INTERVAL = 0.1  # seconds between two rewrites of the line


class Progress:
    """Call it with the number of items done; it shows that. Silent where stderr is no terminal.

    Args:
        label: what is being done.
        total: how many items there are, if that is known.
        quiet: never show anything.
    """

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        self._label = label
        self._total = total
        self._show = progress_is_shown(quiet)
        self._start = time.perf_counter()
        self._last = 0.0
        self._bar = _bar(label, total) if self._show else None

    def __call__(self, done: int) -> None:
        """Say how many items are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        now = time.perf_counter()
        if not self._show or (now - self._last < _INTERVAL and done != self._total):
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        of = "" if self._total is None else f" of {self._total:,}, {(self._total - done) / rate:.0f} s left"
        self._write(f"{self._label}: {done:,}{of}, {rate:,.0f}/s")

    def close(self) -> None:
        """Clear it."""
        if self._bar is not None:
            self._bar.close()
        elif self._show:
            self._write("")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}")  # back to the start, and clear what was there
        sys.stderr.flush()


def progress_is_shown(quiet: bool) -> bool:
    """Tell whether there is anybody to look."""
    return not quiet and sys.stderr.isatty()


def _bar(label: str, total: int | None) -> Any:
    """Return a bar of tqdm, or None where there is no tqdm."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return None
    looks = {"unit": "", "leave": False, "dynamic_ncols": True, "mininterval": _INTERVAL}
    return tqdm(desc=label, total=total, file=sys.stderr, **looks)
