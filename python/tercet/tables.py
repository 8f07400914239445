"""Aligned tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["text_table"]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Return the lines of a table, joined: a header, a rule, the rows.

    Args:
        header: names of the columns.
        rows: as many cells each.
        align: one of ``<`` and ``>`` per column; those that are missing are ``<``, and more do not count.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    sides = align.ljust(len(header), "<")[: len(header)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        for row in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
