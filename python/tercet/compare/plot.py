"""Quality against latency, storage as the area of the bubbles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tercet.compare.summary import Row
from tercet.picture import Anchor, Box, Dot, Line, Picture, Text, text_width

__all__ = ["plot"]

# After Okabe and Ito's, which everybody can tell apart; of middling brightness, for light and dark pages
_COLOURS = ("#2b8cd6", "#e0662a", "#14a37f", "#cc79a7", "#8b6fd6", "#d99a00", "#8a8f98", "#7aa62b", "#c2407a")
_WIDTH, _HEIGHT = 860.0, 520.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 74.0, 30.0, 64.0, 62.0
_LARGEST, _LEAST = 30.0, 3.0  # radius of the largest bubble, and of one too small to be seen
_SIZE = 12.0  # of labels
# Directions in which a label may stand from its bubble
_AROUND = (
    *((across, down) for across in (1.0, -1.0) for down in (0.0, -0.5, 0.5)),
    (0.0, -1.0),
    (0.0, 1.0),
)
_DOT = 11.0  # room for the dot before one


class _Frame(NamedTuple):
    """From numbers to pixels."""

    ms: tuple[float, float]
    quality: tuple[float, float]

    def x(self, ms: float) -> float:
        low, high = (math.log10(value) for value in self.ms)
        return _LEFT + (math.log10(ms) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, quality: float) -> float:
        low, high = self.quality
        return _HEIGHT - _BOTTOM - (quality - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def plot(name: str, rows: Sequence[Row]) -> Picture:
    """Draw nDCG@10 with its interval against ms per query; area is bytes per document.

    Args:
        name: of the collection.
        rows: of :func:`tercet.compare.summary.summary`.
    """
    frame = _frame(rows)
    picture = Picture(_WIDTH, _HEIGHT, f"{name}: nDCG@10 against milliseconds per query")
    picture.add(
        Text(12, 24, f"{name}: quality, latency, storage", 15, bold=True),
        Text(12, 44, "area: bytes per document; bars: 95 % interval over queries", 12, opacity=0.75),
    )
    grid = _draw_axes(picture, frame)
    largest = max(row.bytes for row in rows)
    taken: list[Box] = []
    bubbles = []
    for place, row in enumerate(rows):
        x, y = frame.x(row.ms), frame.y(row.ndcg.mean)
        radius = max(_LEAST, _LARGEST * math.sqrt(row.bytes / largest))
        colour = _COLOURS[place % len(_COLOURS)]
        bubbles.append((row, x, y, radius, colour))
        taken.append(Box(x - radius, y - radius, 2 * radius, 2 * radius))
        if not math.isnan(row.ndcg.low):
            top, bottom = frame.y(row.ndcg.high), frame.y(row.ndcg.low)
            picture.add(
                Line(x, top, x, bottom, colour, 1.5),
                Line(x - 4, top, x + 4, top, colour, 1.5),
                Line(x - 4, bottom, x + 4, bottom, colour, 1.5),
            )
            taken.append(Box(x - 5, top, 10, bottom - top))
    for row, x, y, radius, colour in sorted(bubbles, key=lambda bubble: -bubble[3]):
        tip = f"{row.name}: nDCG@10 {row.ndcg.mean:.4f}, {row.ms:.3g} ms, {row.bytes:,.0f} bytes"
        picture.add(Dot(x, y, radius, colour, 0.3, tip), Dot(x, y, 2, colour))
    for row, x, y, radius, colour in sorted(bubbles, key=lambda bubble: (bubble[2], bubble[1])):
        _draw_label(picture, taken, grid, f"{row.name}  {_bytes(row.bytes)}", x, y, radius, colour)
    return picture


def _frame(rows: Sequence[Row]) -> _Frame:
    """Return axes with room around all points and bars."""
    slow, fast = max(row.ms for row in rows), max(min(row.ms for row in rows), 1e-3)
    ratio = max(slow / fast, 4.0)
    values = [v for row in rows for v in row.ndcg if not math.isnan(v)]
    low, high = min(values), max(values)
    room = max(high - low, 0.02) * 0.12
    return _Frame((fast / ratio**0.15, slow * ratio**0.3), (max(0.0, low - room), high + room))


def _draw_axes(picture: Picture, frame: _Frame) -> list[Box]:
    """Draw axes, and return where their grid is, which labels had better avoid."""
    grid = []
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    for value in _round_values(*frame.quality):
        y = frame.y(value)
        picture.add(Line(left, y, right, y, opacity=0.15))
        grid.append(Box(left, y - 0.5, right - left, 1))
        picture.add(Text(left - 8, y + 4, f"{value:.3g}", 11, anchor="end", opacity=0.8))
    for value in _powers(*frame.ms):
        x = frame.x(value)
        picture.add(Line(x, top, x, bottom, opacity=0.15))
        grid.append(Box(x - 0.5, top, 1, bottom - top))
        picture.add(Text(x, bottom + 18, f"{value:g}", 11, anchor="middle", opacity=0.8))
    picture.add(
        Line(left, bottom, right, bottom, opacity=0.6),
        Line(left, top, left, bottom, opacity=0.6),
        Text(
            (left + right) / 2,
            bottom + 42,
            "milliseconds per query (median, logarithmic)",
            12,
            anchor="middle",
        ),
        Text(22, (top + bottom) / 2, "nDCG@10", 12, anchor="middle", turn=-90),
    )
    return grid


def _draw_label(
    picture: Picture,
    taken: list[Box],
    grid: list[Box],
    label: str,
    x: float,
    y: float,
    radius: float,
    colour: str,
) -> None:
    """Write a label near its bubble where it hides nothing, with a dot of its colour, and a line to it."""
    width, height = text_width(label, _SIZE) + _DOT, _SIZE + 4
    best, least = (Box(x, y, width, height), 1.0, 0.0, 0.0), math.inf
    for distance in (6.0, 16.0, 28.0, 42.0, 58.0, 76.0, 96.0, 120.0):
        reach = radius + distance
        for dx, dy in _AROUND:
            left = x + dx * reach - (0 if dx > 0 else width if dx < 0 else width / 2)
            box = Box(left, y + dy * reach - height / 2, width, height)
            crossed = sum(_overlap(box, line) for line in grid)
            cost = distance + sum(_overlap(box, other) for other in taken) + crossed / 8 + 10 * _outside(box)
            if cost < least:
                best, least = (box, dx, dy, distance), cost
    box, dx, dy, distance = best
    taken.append(box)
    middle = box.y + height / 2
    dot, near = (box.x + box.width - 3, box.x + box.width + 2) if dx < 0 else (box.x + 3, box.x - 2)
    if distance > 10:
        end = (near, middle) if dx else (x, box.y if dy > 0 else box.y + height)
        picture.add(Line(x, y, *end, colour, 1.0, 0.9))
    anchor: Anchor = "end" if dx < 0 else "start"
    text = box.x + box.width - _DOT if dx < 0 else box.x + _DOT
    picture.add(Dot(dot, middle, 3, colour), Text(text, middle + 4.5, label, _SIZE, anchor=anchor))


def _overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(across, 0.0) * max(down, 0.0)


def _outside(box: Box) -> float:
    """Return how many pixels a box sticks out of the axes."""
    return (
        max(_LEFT + 2 - box.x, 0.0)
        + max(box.x + box.width - (_WIDTH - 4), 0.0)
        + max(_TOP - box.y, 0.0)
        + max(box.y + box.height - (_HEIGHT - _BOTTOM - 2), 0.0)
    )


def _round_values(low: float, high: float) -> list[float]:
    """Return about five round numbers of a range."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten of a range; of a short one more, of a long one fewer."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ratio = high / low
    factors = (1, 1.5, 2, 3, 5, 7) if ratio < 20 else (1, 2, 5) if ratio < 3000 else (1,)
    return [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 999.5 or unit == "MB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError
