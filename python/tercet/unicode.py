"""Strings that are no text: a lone surrogate is half of a character, and no encoding has it."""

from __future__ import annotations

__all__ = ["unicode_fault"]


def unicode_fault(text: str) -> str | None:
    """Return what is wrong with a string that UTF-8 cannot hold, None for any other."""
    if text.isascii():  # which a str knows without looking
        return None
    try:
        text.encode()
    except UnicodeEncodeError as e:
        return str(e)
    return None
