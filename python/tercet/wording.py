"""How numbers of things are said to people."""

from __future__ import annotations

__all__ = ["number_of"]


def number_of(count: int, what: str) -> str:
    """Return ``1 document``, ``2,000 documents``, ``0 queries``."""
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"
