"""Tables: collected while the benchmarks run, printed at the end of the session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """A title, the versions and settings behind it, and sections of rows under one header."""

    title: str
    header: Sequence[str]
    versions: dict[str, None] = field(default_factory=dict)  # an ordered set
    sections: list[tuple[str, list[Sequence[str]]]] = field(default_factory=list)


class Report:
    """The tables of a session."""

    def __init__(self) -> None:
        self.head: list[str] = []
        self._tables: dict[str, Table] = {}

    def add(
        self,
        title: str,
        header: Sequence[str],
        section: str,
        rows: list[Sequence[str]],
        versions: Sequence[str] = (),
    ) -> None:
        table = self._tables.setdefault(title, Table(title, header))
        table.versions.update(dict.fromkeys(versions))
        if section and table.sections and table.sections[-1][0] == section:
            table.sections[-1][1].extend(rows)
        else:
            table.sections.append((section, rows))

    def lines(self) -> Iterator[str]:
        for table in self._tables.values():
            yield ""
            yield table.title
            yield from (f"  {line}" for line in self.head)
            if table.versions:
                yield f"  {', '.join(table.versions)}"
            yield from _aligned(table)


def _aligned(table: Table) -> Iterator[str]:
    """The first column to the left, the others to the right; a row of two cells is a name and a remark."""
    full = [row for _, rows in table.sections for row in rows if len(row) == len(table.header)]
    every = [row for _, rows in table.sections for row in rows]
    widths = [max(map(len, column)) for column in zip(table.header, *full, strict=True)]
    widths[0] = max([widths[0], *(len(row[0]) for row in every)])

    def line(row: Sequence[str]) -> str:
        if len(row) != len(table.header):
            return f"  {row[0]:<{widths[0]}}  {row[1]}".rstrip()
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join([f"  {row[0]:<{widths[0]}}", *cells]).rstrip()

    yield "  " + "-" * (sum(widths) + 2 * len(widths) - 2)
    yield line(table.header)
    for name, rows in table.sections:
        if name:
            yield f"  {name}"
        yield from map(line, rows)


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
