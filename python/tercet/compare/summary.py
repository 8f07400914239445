"""What was measured, boiled down to a row for each arm."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tercet.compare.measures import Interval, bootstrap
from tercet.compare.run import Comparison, Measured

__all__ = ["COLUMNS", "NOTES", "SIDES", "Row", "as_json", "cells", "differences", "summary"]

COLUMNS = (
    "",
    "nDCG@10",
    "95 % interval",
    "recall@100",
    "ms/query",
    "of it encoding",
    "bytes/document",
    "texts read",
)
SIDES = "<>>>>>>>"

NOTES = (
    "nDCG@10: trec_eval's formula (linear gain). recall@100: of documents graded above 0. Both are means.",
    "95 % interval: percentiles of 10,000 resamples of the queries; all arms see the same ones.",
    "ms/query: median of the whole call, one query a call: encoding it, finding and ordering the 100 best.",
    "bytes/document: of the vectors, not of the texts. Texts read: by the cross-encoder, per query, mean.",
    "Documents with equal scores are in the order of the stage before, or else of the collection.",
)


class Row(NamedTuple):
    """One arm.

    Attributes:
        name: of the arm.
        ndcg, recall: means with their intervals.
        ms, encoding_ms: medians.
        bytes: per document.
        read: mean number of texts that the cross-encoder read.
        against: the arm it is compared with, empty for the first.
        difference: of nDCG@10, query by query; None for the first.
    """

    name: str
    ndcg: Interval
    recall: Interval
    ms: float
    encoding_ms: float
    bytes: float
    read: float
    against: str
    difference: Interval | None


def summary(comparison: Comparison) -> list[Row]:
    """Return a row for each arm.

    An arm is compared with the first one, and one that stops early with itself where it does not.
    """
    measured = comparison.measured
    baselines = [_baseline(measured, place) for place in range(len(measured))]
    values = np.array(
        [m.ndcg for m in measured]
        + [m.recall for m in measured]
        + [m.ndcg - measured[b].ndcg for m, b in zip(measured, baselines, strict=True)]
    )
    intervals = bootstrap(values)
    count = len(measured)
    return [
        Row(
            m.arm.name,
            intervals[place],
            intervals[count + place],
            float(np.median(m.ms)),
            float(np.median(m.encoding_ms)),
            m.bytes,
            float(m.read.mean()),
            measured[base].arm.name if place else "",
            intervals[2 * count + place] if place else None,
        )
        for place, (m, base) in enumerate(zip(measured, baselines, strict=True))
    ]


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as texts, for :data:`COLUMNS`."""
    return (
        row.name,
        f"{row.ndcg.mean:.4f}",
        _interval(row.ndcg, ".3f"),
        f"{row.recall.mean:.4f}",
        _short(row.ms),
        _short(row.encoding_ms),
        f"{row.bytes:,.0f}",
        f"{row.read:.1f}" if row.read else "",
    )


def differences(rows: list[Row]) -> list[tuple[str, ...]]:
    """Return differences of nDCG@10 as texts: what, against what, how much, and its interval."""
    return [
        (row.name, row.against, f"{row.difference.mean:+.4f}", _interval(row.difference, "+.4f"))
        for row in rows
        if row.difference is not None
    ]


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return everything as ``json`` can write it; of each arm also the numbers of each query."""
    folder = comparison.folder
    arms = []
    for row, m in zip(summary(comparison), comparison.measured, strict=True):
        record = {
            "name": row.name,
            "stages": list(m.arm.stages),
            "depths": list(m.arm.depths),
            "stop_margin": None if m.arm.stopping is None else m.arm.stopping.margin,
            "min_depth": None if m.arm.stopping is None else m.arm.stopping.least,
            "ndcg@10": _record(row.ndcg),
            "recall@100": _record(row.recall),
            "ms": row.ms,
            "encoding_ms": row.encoding_ms,
            "bytes_per_document": row.bytes,
            "texts_read": row.read,
            "against": row.against or None,
            "difference": None if row.difference is None else _record(row.difference),
        }
        each = {"ndcg@10": m.ndcg, "recall@100": m.recall, "ms": m.ms, "texts_read": m.read}
        arms.append({**record, "per_query": {name: column.tolist() for name, column in each.items()}})
    return {
        "collection": folder.name,
        "documents": len(folder.collection.documents),
        "queries": list(folder.collection.queries),
        "notes": folder.notes,
        "models": comparison.models,
        "machine": comparison.machine,
        "encoding_seconds": comparison.seconds,
        "arms": arms,
    }


def _baseline(measured: list[Measured], place: int) -> int:
    arm = measured[place].arm
    if arm.stopping is None:
        return 0
    full = [m.arm._replace(stopping=None)[1:] for m in measured[:place]]
    own = arm._replace(stopping=None)[1:]
    return full.index(own) if own in full else 0


def _record(interval: Interval) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in interval._asdict().items()}


def _interval(interval: Interval, form: str) -> str:
    if math.isnan(interval.low):
        return "one query"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def _short(ms: float) -> str:
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"
