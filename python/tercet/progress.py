"""A line on stderr that says how far a long job is."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

_INTERVAL = 0.1  # seconds between two rewrites of the line


class Progress:
    """Call it with the number of items done; it rewrites its line. Silent where stderr is no terminal.

    Args:
        label: what is being done.
        total: how many items there are, if that is known.
        quiet: never show anything.
    """

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        self._label = label
        self._total = total
        self._show = not quiet and sys.stderr.isatty()
        self._start = time.perf_counter()
        self._last = 0.0

    def __call__(self, done: int) -> None:
        """Say how many items are done."""
        now = time.perf_counter()
        if not self._show or (now - self._last < _INTERVAL and done != self._total):
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        of = "" if self._total is None else f" of {self._total:,}, {(self._total - done) / rate:.0f} s left"
        self._write(f"{self._label}: {done:,}{of}, {rate:,.0f}/s")

    def close(self) -> None:
        """Clear the line."""
        if self._show:
            self._write("")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}")  # back to the start, and clear what was there
        sys.stderr.flush()
