"""A comparison as text, and as a page of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tercet.chain import BATCH
from tercet.compare.arms import BEST
from tercet.compare.plot import plot
from tercet.compare.run import Comparison
from tercet.compare.summary import COLUMNS, NOTES, SIDES, Row, cells, differences, summary
from tercet.page import html_page, html_table
from tercet.picture import escaped
from tercet.tables import text_table

__all__ = ["html_report", "text_report"]

_DIFFERENCES = ("nDCG@10 of", "against", "difference", "95 % interval")


def text_report(comparison: Comparison) -> str:
    """Return what is printed."""
    rows = summary(comparison)
    parts = [
        _wrapped([_head(comparison), *_facts(comparison)]),
        text_table(*_table(rows), SIDES),
    ]
    if len(rows) > 1:
        parts.append(text_table(_DIFFERENCES, differences(rows), "<<>>"))
    parts.append(_wrapped([*_settings(comparison, rows), *NOTES]))
    return "\n\n".join(parts)


def html_report(comparison: Comparison) -> str:
    """Return the HTML: nothing of it is loaded from elsewhere, and no script runs."""
    rows = summary(comparison)
    body = [
        f"<h1>{escaped(comparison.folder.name)}: ways to rank</h1>",
        f'<p class="soft">{escaped(_head(comparison))}</p>',
        f'<figure><div class="scroll">{plot(comparison.folder.name, rows).svg()}</div></figure>',
        "<h2>Quality, latency, storage</h2>",
        html_table(*_table(rows), SIDES),
    ]
    if len(rows) > 1:
        body += ["<h2>Differences, query by query</h2>", html_table(_DIFFERENCES, differences(rows), "<<>>")]
    lines = [*_settings(comparison, rows), *NOTES]
    body += [
        "<h2>How this was measured</h2>",
        "<ul>",
        *(f"<li>{escaped(line)}</li>" for line in [*_facts(comparison), *lines]),
        "</ul>",
    ]
    return html_page(f"{comparison.folder.name}: tercet compare", body)


def _table(rows: list[Row]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return header and rows; without a cross-encoder, nobody reads texts."""
    width = len(COLUMNS) if any(row.read for row in rows) else len(COLUMNS) - 1
    return COLUMNS[:width], [cells(row)[:width] for row in rows]


def _wrapped(lines: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(line, 110, subsequent_indent="  ") for line in lines)


def _head(comparison: Comparison) -> str:
    collection = comparison.folder.collection
    return (
        f"{comparison.folder.name}: {len(collection.documents):,} documents, "
        f"{len(collection.queries):,} judged queries"
    )


def _facts(comparison: Comparison) -> list[str]:
    """Return lines about the collection, the models and the machine."""
    seconds = comparison.seconds
    size = len(comparison.folder.collection.documents)
    models = [
        f"{name}: {described}"
        + (f"; {seconds[name]:.1f} s for all documents" if name in seconds and size else "")
        for name, described in comparison.models.items()
    ]
    return [*comparison.folder.notes, *models, comparison.machine]


def _settings(comparison: Comparison, rows: list[Row]) -> list[str]:
    """Return lines about how many candidates the arms pass on."""
    lines = []
    reranking = [m.arm for m in comparison.measured if m.arm.depths and m.arm.stopping is None]
    depths = {arm.name: arm.depths for arm in reranking}
    if depths:
        named = ", ".join(f"{name} {' and '.join(map(str, each))}" for name, each in depths.items())
        lines.append(f"Candidates that are ordered anew: {named}; the others follow in the order before.")
    for m in comparison.measured:
        if m.arm.stopping is not None:
            least, margin = m.arm.stopping
            lines.append(
                f"stop {margin:g}: the cross-encoder reads {least} texts, then {BATCH} at a time until the "
                f"best of these is more than {margin:g} below the {BEST}th best of all it read."
            )
            break
    return lines
