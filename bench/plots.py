"""Draws what bench_ann.py and bench_multivector.py write with --json: speed against recall.

python bench/plots.py NUMBERS.json PICTURE.png [--title TEXT] [--from RECALL]

Queries a second of bench_ann.py, milliseconds a query of bench_multivector.py; both on a logarithmic scale.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours can be told apart by everybody; ours is black. Rivals beyond them are dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")
STYLES = ("-", "--", ":", "-.")
LINE = 15  # pixels from one label to the next
BESIDE = 0.85  # of the width: lines that end right of it have their labels in the margin
HALO = (patheffects.withStroke(linewidth=3, foreground="white"),)

Curve = Sequence[tuple[float, float]]


def draw(curves: dict[str, Curve], picture: Path, title: str, unit: str, least: float | None) -> None:
    """Draw ``{name: [(recall, value), ...]}`` in 900 x 600 pixels; a name stands where its line ends."""
    shown = {
        name: sorted(point for point in points if least is None or point[0] >= least)
        for name, points in curves.items()
    }
    shown = {name: points for name, points in shown.items() if points}
    figure, axes = plt.subplots(figsize=(9, 6), dpi=100)
    figure.subplots_adjust(left=0.11, right=0.80, top=0.92, bottom=0.1)
    axes.set_yscale("log")
    ours = rivals = 0
    ends = []
    for name, points in shown.items():
        if name.startswith("tercet"):
            colour, style, width = "black", STYLES[ours % len(STYLES)], 2.2
            ours += 1
        else:
            colour, style, width = COLOURS[rivals % len(COLOURS)], STYLES[rivals // len(COLOURS)], 1.5
            rivals += 1
        recall, value = zip(*points, strict=True)
        axes.plot(recall, value, color=colour, linestyle=style, marker="o", markersize=4, linewidth=width)
        ends.append((name, colour, recall[-1], value[-1]))
    left = min(0.95, *(points[0][0] for points in shown.values())) if least is None else least
    axes.set_xlim(left - 0.02 * (1 - left), 1 + 0.01 * (1 - left))
    axes.margins(y=0.08)
    for kind, subs in (("major", (1, 2, 5)), ("minor", range(1, 10))):
        getattr(axes.yaxis, f"set_{kind}_locator")(LogLocator(subs=subs, numticks=40))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}" if y >= 1 else f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("recall@10")
    axes.set_ylabel(unit)
    axes.set_title(title, loc="left", fontsize=12)
    axes.grid(which="major", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, ends)
    figure.savefig(picture)
    plt.close(figure)


def _label(axes: Any, ends: Sequence[tuple[str, str, float, float]]) -> None:
    """Write names beside the ends of their lines, or in the margin, where none hides another."""
    axes.figure.canvas.draw()  # which settles the scales
    to_pixels, box = axes.transData.transform, axes.bbox
    inside, margin = [], []
    for name, colour, *end in ends:
        x, y = to_pixels(end)
        (margin if x > box.x0 + BESIDE * box.width else inside).append((y, x, name, colour))
    inside.sort()
    margin.sort()
    places = [(box.x1 + 22, height) for height in _spread([y for y, *_ in margin])]
    places += [
        (x + 8, height) for (_, x, *_), height in zip(inside, _spread([y for y, *_ in inside]), strict=True)
    ]
    for (y, x, name, colour), place in zip(margin + inside, places, strict=True):
        dark = tuple(0.75 * part for part in to_rgb(colour))
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "alpha": 0.6, "shrinkB": 3}
        axes.annotate(
            name,
            (x, y),
            place,
            xycoords="figure pixels",
            textcoords="figure pixels",
            color=dark,
            verticalalignment="center",
            path_effects=HALO,
            annotation_clip=False,
            arrowprops=leader if place[0] > box.x1 else None,
        )


def _spread(heights: Sequence[float]) -> list[float]:
    """Return rising heights at least LINE apart, near those given: overlapping ones share their middle."""
    groups: list[list[float]] = []  # of each: its members' heights
    bottoms: list[float] = []
    for height in heights:
        groups.append([height])
        bottoms.append(height)
        while len(groups) > 1 and bottoms[-2] + len(groups[-2]) * LINE > bottoms[-1]:
            last = groups.pop()
            bottoms.pop()
            groups[-1] += last
            bottoms[-1] = sum(groups[-1]) / len(groups[-1]) - LINE * (len(groups[-1]) - 1) / 2
    return [
        bottom + i * LINE for bottom, group in zip(bottoms, groups, strict=True) for i in range(len(group))
    ]


def queries_a_second(
    found: dict[str, Any], picture: Path, title: str = "", least: float | None = 0.85
) -> None:
    """Draw the curves of bench_ann.py."""
    curves = {name: [(p["recall"], p["qps"]) for p in points] for name, points in found.items()}
    draw(curves, picture, title, "queries a second, one thread", least)


def milliseconds(found: dict[str, Any], picture: Path, title: str = "", least: float | None = None) -> None:
    """Draw the contenders of bench_multivector.py, without settings that another of theirs beats."""
    curves = {}
    for contender in found["contenders"]:
        points = [(p["recall"], p["best_ms"]) for p in contender["points"]]
        beaten = [any(r >= recall and ms < mine for r, ms in points) for recall, mine in points]
        curves[contender["name"]] = [p for p, worse in zip(points, beaten, strict=True) if not worse]
    unit = f"milliseconds a query, {found['threads']} thread{'s' * (found['threads'] > 1)}: lower is better"
    draw(curves, picture, title or found["title"], unit, least)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws speed against recall.")
    parser.add_argument("numbers", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--title", default="")
    parser.add_argument("--from", dest="least", type=float, help="recall on the left")
    args = parser.parse_args()
    found = json.loads(args.numbers.read_text())
    kind = milliseconds if "contenders" in found else queries_a_second
    chosen = {} if args.least is None else {"least": args.least}
    kind(found, args.picture, args.title, **chosen)


if __name__ == "__main__":
    main()
