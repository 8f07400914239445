"""The similarities of a query's and a document's tokens as a grid of coloured cells."""

from __future__ import annotations

import textwrap

import numpy as np

from tercet.explain import Explanation, role_of
from tercet.picture import Box, Line, Picture, Text, text_width

__all__ = ["chosen_columns", "heat_map"]

COLUMNS = 44  # document tokens that are shown, of a long document
AROUND = 2  # tokens on either side of a best match that are shown with it, where there is room

_CELL, _GAP = 24, 14  # pixels
_LETTERS = 18  # of a token
_COLOUR = "#3b82f6"  # mid-tone: text of either colour can be read on it
_BEST = "#e11d48"
_PALE, _FULL = 0.03, 0.85  # opacity of the least and the largest similarity


def chosen_columns(explanation: Explanation, most: int = COLUMNS) -> list[int]:
    """Return the places of the document tokens to show, ascending: best matches and what stands around.

    Args:
        explanation: how the texts compare.
        most: how many; of more best matches, those that carry most.
    """
    count = len(explanation.document_tokens)
    if count <= most:
        return list(range(count))
    carried: dict[int, float] = {}
    for match in explanation.matches:
        carried[match.position] = carried.get(match.position, 0.0) + match.similarity
    best = sorted(carried, key=lambda place: (-carried[place], place))[:most]
    chosen = dict.fromkeys(best)
    for distance in range(1, AROUND + 1):
        for place in best:
            for beside in (place - distance, place + distance):
                if 0 <= beside < count and len(chosen) < most:
                    chosen[beside] = None
    return sorted(chosen)


def heat_map(explanation: Explanation, *, columns: int = COLUMNS) -> Picture:
    """Draw query tokens (rows) against document tokens; the best match of each row is framed.

    Args:
        explanation: of :meth:`tercet.Retriever.explanation`.
        columns: document tokens shown at most; what is left out shows as a gap.
    """
    shown = chosen_columns(explanation, columns)
    rows = [_label(token) for token in explanation.query_tokens]
    names = [_label(explanation.document_tokens[place]) for place in shown]
    left = 20 + max(text_width(name, 12) for name in rows)
    top = 62 + max(text_width(name, 12) for name in names)
    places, x = [], left
    for before, place in zip([shown[0] - 1, *shown], shown, strict=False):
        x += _GAP if place > before + 1 else 0
        places.append(x)
        x += _CELL
    right, bottom = x, top + _CELL * len(rows)
    width = max(right + 90, left + 500)  # of the shares, and of the key
    heading = textwrap.shorten(explanation.query, 90, placeholder=" ...")
    title = textwrap.shorten(explanation.document.title or explanation.document.text, 80, placeholder=" ...")
    picture = Picture(width, bottom + 58, f"Similarities of the tokens of {heading!r} and of {title!r}")
    room = width - 24
    picture.add(
        Text(12, 22, _fitting(heading, 14, room), 14, bold=True),
        Text(12, 40, _fitting(f"{explanation.score:.3f}  {title}", 12, room), opacity=0.8),
    )
    _draw_columns(picture, explanation, shown, places, names, top)
    _draw_rows(picture, explanation, shown, places, rows, (left, top, right))
    low, high = _range(explanation, shown)
    _draw_key(picture, left, bottom + 18, low, high)
    cut = len(explanation.document_tokens) - len(shown)
    if cut:
        note = f"{len(shown)} of {len(shown) + cut} document tokens: best matches and what stands beside them"
        picture.add(Text(12, bottom + 50, note, 11, opacity=0.7))
    return picture


def _draw_columns(
    picture: Picture,
    explanation: Explanation,
    shown: list[int],
    places: list[float],
    names: list[str],
    top: float,
) -> None:
    for place, x, name in zip(shown, places, names, strict=True):
        faint = 0.55 if role_of(explanation.document_tokens[place]) else 1.0
        picture.add(Text(x + _CELL / 2 + 4, top - 6, name, 12, turn=-90, opacity=faint))
    for before, after, x in zip(shown, shown[1:], places[1:], strict=False):
        if after > before + 1:
            middle, bottom = x - _GAP / 2, top + _CELL * len(explanation.query_tokens)
            picture.add(Line(middle, top, middle, bottom, opacity=0.25))
            picture.add(Text(middle, top - 6, "...", 12, anchor="middle", opacity=0.6))


def _draw_rows(
    picture: Picture,
    explanation: Explanation,
    shown: list[int],
    places: list[float],
    rows: list[str],
    corner: tuple[float, float, float],
) -> None:
    left, top, right = corner
    low, high = _range(explanation, shown)
    picture.add(Text(right + 12, top - 6, "of the score", 11, opacity=0.7))
    for row, (match, name) in enumerate(zip(explanation.matches, rows, strict=True)):
        y = top + row * _CELL
        faint = 0.55 if match.query_role else 1.0
        picture.add(Text(left - 8, y + 16, name, 12, anchor="end", opacity=faint))
        picture.add(Text(right + 12, y + 16, f"{match.share:.1%}", 11, opacity=0.9))
        for place, x in zip(shown, places, strict=True):
            value = float(explanation.grid[row, place])
            strength = _PALE + (_FULL - _PALE) * (value - low) / (high - low)
            other = explanation.document_tokens[place]
            tip = f"{explanation.query_tokens[row]} and {other}: {value:.3f}"
            picture.add(Box(x, y, _CELL - 1, _CELL - 1, fill=_COLOUR, opacity=strength, tip=tip))
        if match.position in shown:
            x = places[shown.index(match.position)]
            number = f"{match.similarity:.2f}".replace("0.", ".", 1)
            picture.add(Box(x, y, _CELL - 1, _CELL - 1, stroke=_BEST))
            picture.add(Text(x + (_CELL - 1) / 2, y + 15.5, number, 10, anchor="middle"))


def _draw_key(picture: Picture, x: float, y: float, low: float, high: float) -> None:
    """Say what the colours are, and what the frames."""
    steps = 24
    picture.add(Text(x, y + 11, f"{low:.2f}", 11))
    x += 36
    for step in range(steps):
        strength = _PALE + (_FULL - _PALE) * step / (steps - 1)
        picture.add(Box(x + 5 * step, y, 5, 13, fill=_COLOUR, opacity=strength))
    x += 5 * steps + 8
    picture.add(Text(x, y + 11, f"{high:.2f} similarity", 11))
    x += 116
    picture.add(Box(x, y, 13, 13, stroke=_BEST), Text(x + 20, y + 11, "best match of a query token", 11))


def _range(explanation: Explanation, shown: list[int]) -> tuple[float, float]:
    grid = explanation.grid[:, shown]
    low, high = float(np.min(grid)), float(np.max(grid))
    return low, max(high, low + 1e-6)


def _label(token: str) -> str:
    """Return what is written at a row or column."""
    name, role = token.strip() or repr(token), role_of(token)
    name = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
    return f"{name} ({role})" if role else name


def _fitting(text: str, size: float, room: float) -> str:
    """Cut a text to a width in pixels."""
    if text_width(text, size) <= room:
        return text
    kept = len(text)
    while kept and text_width(text[:kept], size) + text_width(" ...", size) > room:
        kept -= 1
    return text[:kept].rstrip(" .") + " ..."
