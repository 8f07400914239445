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
from levels import same_bits
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
    def doc_offsets(self) -> Array:
        return np.cumsum([0, *self.lengths])

    @property
    def query_offsets(self) -> Array:
        """Two queries of one token, and one of all the others."""
        return np.array([0, 1, 2, len(self.queries.data)])


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
    lengths = [1, 2, 0, 3, 7, 8, 9, 17]
    for form in FORMATS:
        for dim in (1, 2, 3, 17, 64, 129, 257, 1000):
            rng = np.random.default_rng(dim)
            for step in (1, 13):  # elements between rows, and before the first
                plain = random_rows(rng, 33, dim, form), random_rows(rng, sum(lengths), dim, form)
                queries, docs = (Rows(_spread(r.data, step), r.format) for r in plain)
                yield Case(f"{form}/{dim}/{step}", queries, docs, lengths, [33])


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


def index_inputs(dim: int) -> tuple[Array, Array, list[Array], list[Array]]:
    """Queries and rows, texts of 1 to 40 and of 0 to 7 tokens; some rows and texts are there twice."""
    rng = np.random.default_rng(dim)
    vectors = (rng.standard_normal((150, dim)) * rng.uniform(0.1, 10, (150, 1))).astype(np.float32)
    vectors[-30:] = vectors[:30]
    vectors[5] = 0
    queries = rng.standard_normal((35, dim)).astype(np.float32)
    texts = [vectors[i : i + n] for i, n in enumerate(rng.integers(0, 8, 120))]
    texts += texts[:10]
    questions = [vectors[-n:] for n in (1, 7, 33, 2, 40, 5)]
    return queries, vectors, questions, texts


def many_rows() -> tuple[Array, Array]:
    """Enough rows to give several threads work, in a few whole numbers: most scores are tied."""
    rng = np.random.default_rng(0)
    return rng.integers(-1, 2, (5, 3)).astype(np.float32), rng.integers(-1, 2, (13000, 3)).astype(np.float32)


INDEX_DIMS = (3, 33, 128, 257)
METRICS = ("dot", "cosine", "l2")


class _Check:
    """Collects what should have been the same and was not."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def __call__(self, what: str, a: Any, b: Any) -> None:
        if not all(map(same_bits, a, b)):
            self.wrong.append(what)


def score_results() -> dict[str, Array]:
    """Scores of every case, and under "disagreements" what changed with its company or the threads."""
    out: dict[str, Array] = {}
    check = _Check()
    for case in [*shapes(), *layouts(), *extremes()]:
        queries, docs = case.queries, case.docs
        texts = tercet.TokenVectors(docs, case.doc_offsets)
        questions = tercet.TokenVectors(queries, case.query_offsets)
        dots = out[f"dot/{case.name}"] = tercet.dot(queries, docs, threads=1)
        maxsims = out[f"maxsim/{case.name}"] = tercet.maxsim(questions, texts, threads=1)
        check(f"dot/{case.name}/threads", [dots], [tercet.dot(queries, docs, threads=3)])
        few = Rows(docs.data[:40], docs.format)
        for n in case.query_counts[:-1]:  # the first and the last n queries: the same rows in other lanes
            first, last = (Rows(part, queries.format) for part in (queries.data[:n], queries.data[-n:]))
            check(f"dot/{case.name}/{n}", [dots[:n, :40]], [tercet.dot(first, few, threads=1)])
            check(f"dot/{case.name}/-{n}", [dots[-n:, :40]], [tercet.dot(last, few, threads=1)])
        if not np.isnan(dots).any():
            found = tercet.topk(queries, docs, 3, threads=1)
            check(f"topk/{case.name}", (found.ids, found.scores), reference.topk(dots, 3))
        for i, n in enumerate(case.lengths):
            if n:  # each document alone
                alone = tercet.TokenVectors(Rows(docs.data[case.doc_offsets[i] :][:n], docs.format), [0, n])
                score = tercet.maxsim(questions, alone, threads=1)
                check(f"maxsim/{case.name}/{i} alone", [score], [maxsims[:, i : i + 1]])
    return out | {"disagreements": np.array(check.wrong)}


def index_results() -> dict[str, Array]:
    """Hits of both indexes under every codec, and "disagreements" as above."""
    out: dict[str, Array] = {}
    check = _Check()

    def hits(name: str, search: Any, queries: Any) -> None:
        whole = search(queries, 12, threads=1)
        out[f"{name}/ids"], out[f"{name}/scores"] = whole.ids, whole.scores
        for threads in (2, 3, 8):
            again = search(queries, 12, threads=threads)
            check(f"{name}/threads {threads}", (again.ids, again.scores), (whole.ids, whole.scores))
        for q in {0, 1, 2, 3, 4, len(queries) - 1}:
            one = search(queries[q], 12)
            check(f"{name}/query {q} alone", (one.ids[0], one.scores[0]), (whole.ids[q], whole.scores[q]))

    for dim in INDEX_DIMS:
        queries, vectors, questions, texts = index_inputs(dim)
        for codec in FORMATS:
            for metric in METRICS:
                flat = tercet.FlatIndex(dim, metric=metric, codec=codec)
                flat.add(vectors)
                hits(f"flat/{dim}/{metric}/{codec}", flat.search, queries)
            multi = tercet.MultiVectorIndex(dim, codec=codec)
            multi.add(texts)
            hits(f"multivector/{dim}/{codec}", multi.search, questions)
    queries, vectors = many_rows()
    for codec in FORMATS:
        flat = tercet.FlatIndex(vectors.shape[1], metric="l2", codec=codec)
        flat.add(vectors)
        hits(f"many/{codec}", flat.search, queries)
    return out | {"disagreements": np.array(check.wrong)}
