"""The frame of the HTML pages: one style for light and dark, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from tercet.picture import escaped

__all__ = ["html_page", "html_table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --paper: #ffffff; --rule: #d5dae1; --soft: #59636e;
  --shade: 59 130 246; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --paper: #14171c; --rule: #3a424d; --soft: #9aa5b1; }
}
* { box-sizing: border-box; }
body { margin: 2rem auto; padding: 0 1.25rem; max-width: 68rem; color: var(--ink); background: var(--paper);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; margin: 0 0 .3rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.soft, figcaption { color: var(--soft); } .scroll { overflow-x: auto; }
figure { margin: .5rem 0; } svg { max-width: none; display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; border-bottom: 1px solid var(--rule);
  overflow-wrap: normal; vertical-align: top; }
th { font-weight: 600; } .number { text-align: right; white-space: nowrap; }
.text { line-height: 2; } .token { border-radius: 3px; padding: .12em 0; }
.role { font-size: .75em; border: 1px solid var(--rule); border-radius: 3px; padding: 0 .3em; }
summary { cursor: pointer; } pre { white-space: pre-wrap; font: inherit; }
"""


def html_page(title: str, body: Sequence[str]) -> str:
    """Return a whole page; ``body`` is HTML, ``title`` is text."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Texts come from anywhere: should one ever get through, the page still runs and loads nothing
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\">",
            f"<title>{escaped(title)}</title>",
            f"<style>{_STYLE}</style></head>",
            "<body>",
            *body,
            "</body></html>",
            "",
        ]
    )


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Return a table of texts, which are escaped here.

    Args:
        header: names of the columns.
        rows: as many cells each.
        align: one of ``<`` and ``>`` per column, as of :func:`tercet.tables.text_table`.
    """
    chosen = align.ljust(len(header), "<")[: len(header)]
    sides = [' class="number"' if side == ">" else "" for side in chosen]

    def line(tag: str, cells: Sequence[str]) -> str:
        made = "".join(
            f"<{tag}{side}>{escaped(cell)}</{tag}>" for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{made}</tr>"

    lines = [line("th", header), *(line("td", row) for row in rows)]
    return "\n".join(['<div class="scroll"><table>', *lines, "</table></div>"])
