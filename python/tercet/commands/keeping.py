"""What is there after ``tercet index`` has failed, or was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["undone"]


@contextmanager
def undone(path: Path) -> Iterator[None]:
    """Remove the index that was made in a block which then failed, and stored nothing.

    Raises:
        KeyboardInterrupt: as it came, with a word on what was kept.
    """
    from tercet.collection import remove_unused

    there, before = path.exists(), _commit(path)
    try:
        yield
    except BaseException as e:
        after = _commit(path)
        if (before, after) == (0, 1):  # as create leaves it; before, there was none
            remove_unused(path, directory=not there)
        if isinstance(e, KeyboardInterrupt):
            kept = f"{path} is as it was" if before else "nothing was stored"
            raise KeyboardInterrupt("all was stored" if after > max(before, 1) else kept) from None
        raise


def _commit(path: Path) -> int:
    """Return the number of the current commit, 0 where there is no index."""
    from tercet.directory import read_manifest

    try:
        return read_manifest(path).generation
    except (OSError, ValueError):
        return 0
