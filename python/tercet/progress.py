"""How far a long job is, on stderr: a bar where tqdm is installed, else a line; in a log, some lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "saying"]

_INTERVAL = 0.1  # seconds between two rewrites of the line
_IN_A_LOG = 10.0  # seconds between two lines where stderr is no terminal


class Progress:
    """Call it with the number of items done; it shows that, from the first moment on.

    Where stderr is no terminal, it writes a line every ten seconds.

    Args:
        label: what is being done.
        total: how many items there are, if that is known.
        quiet: never show anything.
    """

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        self._label = label
        self._total = total
        self._quiet = quiet
        self._show = _is_shown(quiet)
        self._start = self._last = time.perf_counter()
        self._bar = _bar(label, total) if self._show else None
        if self._show and self._bar is None:
            _write(self._line(0))

    def __call__(self, done: int) -> None:
        """Say how many items are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        now = time.perf_counter()
        ends = self._show and done == self._total
        if self._quiet or (now - self._last < (_INTERVAL if self._show else _IN_A_LOG) and not ends):
            return
        self._last = now
        line = self._line(done)
        if self._show:
            _write(line)
        else:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Clear it."""
        if self._bar is not None:
            self._bar.close()
        elif self._show:
            _write("")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _line(self, done: int) -> str:
        rate = done / max(time.perf_counter() - self._start, 1e-9)
        if self._total is None:
            return f"{self._label}: {done:,}, {rate:,.0f}/s"
        left = f", {(self._total - done) / rate:.0f} s left, {rate:,.0f}/s" if done else ""
        return f"{self._label}: {done:,} of {self._total:,}{left}"


@contextmanager
def saying(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Say on a terminal what takes a while, such as ``loading NAME``, as long as it takes."""
    shown = _is_shown(quiet)
    if shown:
        _write(f"{what} ...")
    try:
        yield
    finally:
        if shown:
            _write("")


def _is_shown(quiet: bool) -> bool:
    """Tell whether there is anybody to look."""
    return not quiet and sys.stderr.isatty()


def _write(line: str) -> None:
    sys.stderr.write(f"\r\x1b[K{line}")  # back to the start, and clear what was there
    sys.stderr.flush()


def _bar(label: str, total: int | None) -> Any:
    """Return a bar of tqdm, or None where there is no tqdm."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return None
    looks = {"unit": "", "leave": False, "dynamic_ncols": True, "mininterval": _INTERVAL}
    return tqdm(desc=label, total=total, file=sys.stderr, **looks)
