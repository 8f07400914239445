"""The inputs of the kernel tests, and what the library makes of them.

`results()` runs in a process of its own per instruction set (levels.run_under); the test process makes the
same inputs again for the reference. Everything goes through the public functions, because they decide how
rows reach the kernels: panels of 32 queries, blocks of rows, tiles, tails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import reference

import tercet
from tercet.arrays import Rows

Array = npt.NDArray[Any]

FORMATS = ("float32", "bfloat16", "int8")
# around the widths of groups (1, 2, 4), vectors and panel blocks (160 float32), and what models have
DIMS = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 96, 127, 128, 129, 160, 161, 255, 256, 257]
DIMS += [320, 384, 640, 768, 1000, 1024, 1536, 4096]
QUERY_COUNTS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100]
TOKEN_COUNTS = [*range(21), 63, 64, 65]
EXTREME_DIMS = [5, 64, 255, 256, 257, 1001]


class Case(NamedTuple):
    """Queries against documents of several tokens each."""

    name: str
    queries: Rows
    docs: Rows
    lengths: list[int]  # tokens of each document, in all len(docs.data)
    query_counts: list[int]

    @property
    def offsets(self) -> Array:
        return np.cumsum([0, *self.lengths])


def rows(values: Array, form: str) -> Rows:
    """Float values as rows of a format; int8 takes whole numbers."""
    if form == "bfloat16":
        return Rows(reference.bfloat16(values), form)
    return Rows(values.astype(form), form)


def random_rows(rng: np.random.Generator, n: int, dim: int, form: str) -> Rows:
    if form == "int8":
        return rows(rng.integers(-127, 128, (n, dim)), form)
    return rows(rng.standard_normal((n, dim)).astype(np.float32), form)


def shapes() -> Iterator[Case]:
    """Every dimension, with fewer rows where rows are long."""
    for form in FORMATS:
        for dim in DIMS:
            rng = np.random.default_rng(dim)
            lengths, counts = TOKEN_COUNTS, QUERY_COUNTS
            if dim > 129:
                lengths, counts = [0, 1, 2, 3, 7, 9, 24, 25], [1, 9, 17, 33]
            if dim > 1000:
                lengths, counts = [1, 0, 4, 25], [9, 33]
            queries = random_rows(rng, max(counts), dim, form)
            yield Case(f"{form}/{dim}", queries, random_rows(rng, sum(lengths), dim, form), lengths, counts)


def layouts() -> Iterator[Case]:
    """Rows farther apart than they are long, bases that no vector is aligned to, NaN in between."""
    for case in shapes():
        if case.queries.dim in (3, 17, 64, 129, 257, 1000):
            for step in (1, 13):  # elements between rows, and before the first
                queries, docs = (Rows(_spread(r.data, step), r.format) for r in (case.queries, case.docs))
                yield Case(f"{case.name}/{step}", queries, docs, case.lengths, [len(queries.data)])


def _spread(values: Array, step: int) -> Array:
    n, dim = values.shape
    size = step + n * (dim + step)
    out = np.full(size * values.itemsize, 0xFF, np.uint8).view(values.dtype)
    view = out[step:].reshape(n, dim + step)[:, :dim]
    view[:] = values
    return view


def extremes() -> Iterator[Case]:
    """Values at the ends of each format. Only `huge` overflows float32."""
    for dim in EXTREME_DIMS:
        rng = np.random.default_rng(dim)
        signs = rng.choice([-1, 1], (17 + 9, dim))
        alternating = np.where(np.arange(dim) % 2, -1, 1) * np.ones((17 + 9, 1))
        floats = {
            "equal": np.full((17 + 9, dim), 0.1),
            "alternating": alternating * 1e3 / 3,
            "tiny": signs * 1e-38 * rng.random(signs.shape),
            "subnormal": signs * rng.choice([1e-45, 3e-42, 1e-40], signs.shape),
            "products": signs * 1e-23 * rng.random(signs.shape),  # products are subnormal
            "wide": signs * 10.0 ** rng.uniform(-18, 18, signs.shape),
            "large": signs * 1e18 * rng.random(signs.shape),
            "huge": signs * 10.0 ** rng.uniform(30, 38, signs.shape),
        }
        ends = signs * 127
        integers = {
            "127": np.full_like(ends, 127),
            "-127": np.full_like(ends, -127),
            "alternating": alternating * 127,
            "ends": ends,
            "-128 in documents": np.where(np.arange(26)[:, None] < 17, ends, -128),
            "-128 in queries": np.where(np.arange(26)[:, None] < 17, -128, ends),
            "-128": np.full_like(ends, -128),
        }
        for form in FORMATS:
            for name, values in (integers if form == "int8" else floats).items():
                both = values.astype(np.float32)
                parts = rows(both[:17], form), rows(both[17:], form)
                yield Case(f"{form}/{dim}/{name}", *parts, [1, 0, 3, 5], [17])


def results() -> dict[str, Array]:
    """Scores of every case, and under "disagreements" what changed with its company or the threads."""
    out: dict[str, Array] = {}
    wrong: list[str] = []

    def check(same: bool, what: str) -> None:
        if not same:
            wrong.append(what)

    for case in [*shapes(), *layouts(), *extremes()]:
        queries, docs = case.queries, case.docs
        texts = tercet.TokenVectors(docs, case.offsets)
        whole = tercet.TokenVectors(queries, [0, len(queries.data)])
        dots = out[f"dot/{case.name}"] = tercet.dot(queries, docs, threads=1)
        maxsims = out[f"maxsim/{case.name}"] = tercet.maxsim(whole, texts, threads=1)
        check(_same(dots, tercet.dot(queries, docs, threads=3)), f"dot/{case.name}/threads")
        few = Rows(docs.data[:40], docs.format)
        for n in case.query_counts[:-1]:  # the first and the last n queries: the same rows in other lanes
            first, last = (Rows(part, queries.format) for part in (queries.data[:n], queries.data[-n:]))
            check(_same(dots[:n, :40], tercet.dot(first, few, threads=1)), f"dot/{case.name}/{n}")
            check(_same(dots[-n:, :40], tercet.dot(last, few, threads=1)), f"dot/{case.name}/-{n}")
        found = tercet.topk(queries, docs, 3, threads=1)
        ids, scores = reference.topk(dots, 3)
        same = _same(found.scores, scores) and _same(found.ids, ids)
        check(same or np.isnan(dots).any(), f"topk/{case.name}")
        for i, n in enumerate(case.lengths):
            if n:  # each document alone
                alone = tercet.TokenVectors(Rows(docs.data[case.offsets[i] :][:n], docs.format), [0, n])
                score = tercet.maxsim(whole, alone, threads=1)
                check(_same(score[0], maxsims[0, i : i + 1]), f"maxsim/{case.name}/alone/{i}")
    out["disagreements"] = np.array(wrong)
    return out


def _same(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype == np.float32)
