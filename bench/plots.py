"""Draws the curves that bench_ann.py writes with --json: queries a second against recall.

python bench/plots.py CURVES.json PICTURE.png [--title TEXT] [--from 0.8]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

# Okabe and Ito's colours can be told apart by everybody; ours is black. Rivals beyond them are dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws queries a second against recall.")
    parser.add_argument("curves", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--title", default="")
    parser.add_argument("--from", dest="least", type=float, default=0.85, help="recall on the left")
    args = parser.parse_args()
    curves = json.loads(args.curves.read_text())
    figure, axes = plt.subplots(figsize=(9, 6), dpi=100)
    rivals = 0
    for name, points in curves.items():
        shown = [(p["recall"], p["qps"]) for p in points if p["recall"] >= args.least]
        if not shown:
            continue
        ours = name.startswith("tercet")
        colour = "black" if ours else COLOURS[rivals % len(COLOURS)]
        dashed = name != "tercet" if ours else rivals >= len(COLOURS)
        rivals += not ours
        recall, rate = zip(*sorted(shown), strict=True)
        axes.plot(
            recall, rate, color=colour, linestyle="--" if dashed else "-", marker="o", markersize=3,
            linewidth=2.2 if ours else 1.4, label=name,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.set_xlim(args.least, 1.001)
    axes.set_xlabel("recall@10")
    axes.set_ylabel("queries a second, one thread")
    axes.set_title(args.title, loc="left")
    axes.grid(which="major", color="#dddddd", linewidth=0.8)
    axes.grid(which="minor", axis="y", color="#f0f0f0", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(args.picture)


if __name__ == "__main__":
    main()
