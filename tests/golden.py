"""Small index files that must stay readable, in tests/data.

`python tests/golden.py` writes those that are missing. They are files of the version that is read now, made
once by the indexes below and never again: a reader that no longer takes them has changed the format. With a
new version they are made anew, in the commit that raises it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tercet

DATA = Path(__file__).parent / "data"
DIM = 8


def vectors(n: int, seed: int) -> Any:
    """Small integers: exact in every codec's arithmetic, the same on every machine."""
    return np.random.default_rng(seed).integers(-3, 4, (n, DIM)).astype(np.float32)


def texts(n: int) -> list[Any]:
    return [vectors(2 + i % 3, 10 + i) for i in range(n)]


def _flat(metric: Any, codec: Any, rescore: Any) -> Any:
    index = tercet.FlatIndex(DIM, metric=metric, codec=codec, rescore=rescore)
    index.add(vectors(12, 1), [f"ä{i}" for i in range(12)] if rescore else None)
    index.remove(index.ids[[2, 5]])
    return index


def _multivector(codec: Any) -> Any:
    index = tercet.MultiVectorIndex(DIM, codec=codec)
    index.add(texts(10))
    index.remove([3])
    return index


def _graph(metric: Any, rescore: Any) -> Any:
    index = tercet.HNSWIndex(DIM, metric=metric, m=2, ef_construction=10, rescore=rescore)
    index.add(vectors(40, 2))
    index.remove(index.ids[::3])
    return index


MAKE: dict[str, Callable[[], Any]] = {
    "flat-float32": lambda: _flat("dot", "float32", None),
    "flat-int8-rescored": lambda: _flat("l2", "int8", "float32"),
    "flat-int4": lambda: _flat("l2", "int4", None),
    "multivector-int8": lambda: _multivector("int8"),
    "multivector-residual2": lambda: _multivector("residual2"),
    "multivector-pq16": lambda: _multivector("pq16"),
    "hnsw": lambda: _graph("cosine", "float32"),
    "hnsw-codes": lambda: _graph("l2", None),
}


def results(index: Any) -> dict[str, Any]:
    """Ids and scores, as JSON has them."""
    queries = vectors(3, 3)
    hits = index.search(queries[:, None] if isinstance(index, tercet.MultiVectorIndex) else queries, 5)
    return {"ids": hits.ids.tolist(), "scores": hits.scores.tolist(), "size": len(index)}


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name, make in MAKE.items():
        path = DATA / f"{name}.tercet"
        if not path.exists():
            index = make()
            index.save(path)
            path.with_suffix(".json").write_text(json.dumps(results(index)) + "\n")
