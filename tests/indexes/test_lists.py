"""Inverted lists of MultiVectorIndex: what they find, and that changes reach them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import container
import tercet
from tercet import MultiVectorIndex, PackedMask

DIM = 16
CODECS = ["float32", "int8", "int4", "residual2"]


def texts(n: int, seed: int) -> list[np.ndarray]:
    """Tokens of 40 kinds with some noise, as words in contexts are; texts of 0 to 12 tokens."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(99).standard_normal((40, DIM))
    made = []
    for length in rng.integers(0, 13, n):
        rows = kinds[rng.integers(0, 40, length)] + 0.3 * rng.standard_normal((length, DIM))
        made.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return made


def queries(n: int, seed: int) -> list[np.ndarray]:
    return [t for t in texts(3 * n, seed) if len(t)][:n]


def filled(codec: Any, n: int = 600) -> MultiVectorIndex:
    index = MultiVectorIndex(DIM, codec=codec)
    index.train(texts(300, 1), centroids=32)
    index.add(texts(n, 2))
    return index


def recall(index: MultiVectorIndex, asked: list[np.ndarray], **how: Any) -> float:
    got, want = index.search(asked, 10, **how), index.search(asked, 10, exact=True, filter=how.get("filter"))
    for a, b in zip(got, want, strict=True):
        best = dict(b)
        assert len(a) == len(b)
        assert all(best.get(hit.id, hit.score) == hit.score for hit in a)  # scores are those of a scan
    return float(
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(got.ids.tolist(), want.ids.tolist(), strict=True)])
    )


@pytest.mark.parametrize("codec", CODECS)
def test_most_of_the_best_are_found(codec: Any) -> None:
    index, asked = filled(codec), queries(40, 3)
    assert recall(index, asked, candidates=100) > 0.9
    assert recall(index, asked, candidates=599) > 0.99
    assert recall(index, asked, candidates=600) == 1
    assert recall(index, asked) == 1  # small: a scan
    alone = [index.search(q, 10, candidates=100, threads=1) for q in asked]
    together = index.search(asked, 10, candidates=100)
    assert np.concatenate([h.ids for h in alone]).tolist() == together.ids.tolist()


@pytest.mark.parametrize("part", [0.0, 0.005, 0.1, 0.5, 1.0])
def test_filters(part: float) -> None:
    index, asked = filled("int8"), queries(20, 3)
    mask = np.random.default_rng(4).random(600) < part
    for given in (mask, index.ids[mask], PackedMask.pack(mask), [mask] * 20):
        hits = index.search(asked, 10, candidates=60, filter=given)
        assert ((hits.ids >= 0).sum(axis=1) == min(10, mask.sum())).all()
        assert np.isin(hits.ids[hits.ids >= 0], index.ids[mask]).all()
    assert mask.sum() == 0 or recall(index, asked, candidates=60, filter=mask) > 0.8 * min(1, mask.sum() / 10)


@pytest.mark.parametrize("codec", ["int8", "residual2"])
def test_changes_reach_the_lists(codec: Any, tmp_path: Path) -> None:
    """Random changes; after each, what the lists find is what is there, and opened files go on alike."""
    rng = np.random.default_rng(5)
    index, asked = filled(codec), queries(20, 3)
    model = dict(zip(index.ids.tolist(), texts(600, 2), strict=True))
    for turn in range(25):
        what = rng.integers(0, 4)
        if what == 0:
            new = texts(int(rng.integers(1, 200)), 10 + turn)
            model.update(zip(index.add(new).tolist(), new, strict=True))
        elif what == 1 and len(model) > 200:
            gone = rng.permutation(list(model))[: int(rng.integers(1, 150))].tolist()
            index.remove(gone)
            model = {i: t for i, t in model.items() if i not in gone}
        elif what == 2:
            ids = rng.permutation(list(model))[:40].tolist()
            new = texts(40, 100 + turn)
            index.add(new, ids)
            model.update(zip(ids, new, strict=True))
        elif turn % 2:
            index.save(tmp_path / "x")
            index = tercet.open(tmp_path / "x")  # type: ignore[assignment]
        else:
            index = pickle.loads(pickle.dumps(index))
        assert set(index.ids.tolist()) == set(model)
        assert recall(index, asked, candidates=150) > 0.85
        own = [i for i, t in model.items() if len(t) > 3][:: max(1, len(model) // 20)]
        found = index.search([model[i] for i in own], 5, candidates=150).ids.tolist()
        assert np.mean([i in row for i, row in zip(own, found, strict=True)]) > 0.95
    index.remove(index.ids)
    assert (index.search(asked, 3, candidates=1).ids == -1).all()
    index.add(texts(50, 7))
    assert recall(index, asked, candidates=49) > 0.9


@pytest.mark.parametrize("codec", ["int8", "residual2"])
def test_damaged_lists_are_noticed_by_who_needs_them(codec: Any, tmp_path: Path) -> None:
    """A removal is done whatever the lists are; one that has many of them made anew does not read these."""
    path = tmp_path / "x"
    filled(codec).save(path)
    data = bytearray(path.read_bytes())
    (place, size) = next((at, n) for name, at, n in container.layout(data) if name == "list_texts")
    data[place + size // 2 | 3] ^= 0x7F
    path.write_bytes(data)
    index = tercet.open(path)
    index.remove(index.ids[:500])
    assert len(index) == 100
    for use in (lambda: index.search(queries(1, 3), 5), lambda: index.add(texts(1, 4)), index.verify):
        with pytest.raises(ValueError, match="list_texts"):
            use()


def test_lists_come_by_themselves() -> None:
    """With 131,072 tokens; and the answer does not depend on the number of threads."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((140_000, 8)).astype(np.float32)
    offsets = np.arange(0, 140_001, 20)
    made = []
    for threads in (1, 2):
        index = MultiVectorIndex(8)
        assert index.stats()["centroids"] == 0
        index.add(tercet.TokenVectors(values, offsets), threads=threads)
        assert index.stats()["centroids"] == 2048
        made.append(index.search(values[:6].reshape(2, 3, 8), 10))
    assert made[0].ids.tolist() == made[1].ids.tolist()
    assert made[0].scores.tobytes() == made[1].scores.tobytes()


def test_bad_arguments() -> None:
    index = filled("int8", 50)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="candidates"):
            index.search(queries(1, 0), candidates=wrong)
    with pytest.raises(TypeError, match="candidates"):
        index.search(queries(1, 0), candidates=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trained already"):
        index.train(texts(10, 0))
