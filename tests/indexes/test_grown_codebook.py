"""Codebooks that get further centroids when content drifts: what is stored stays as it is."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tercet
from levels import same_bits
from tercet import Codebook, Hits, MultiVectorIndex, SegmentedIndex

Array = npt.NDArray[Any]
DIM = 24
TEXTS, TOKENS = 300, 12


def topic(number: int, seed: int, n: int = TEXTS) -> list[Array]:
    """Texts of unit vectors around 40 directions that are the topic's own."""
    around = np.random.default_rng(number).standard_normal((40, DIM))
    rng = np.random.default_rng([number, seed])
    near = around[rng.integers(0, 40, n * TOKENS)] + 0.7 * rng.standard_normal((n * TOKENS, DIM))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    return list(near.astype(np.float32).reshape(n, TOKENS, DIM))


OLD, NEW = topic(1, 0), topic(2, 0)
QUESTIONS = [text[:5] for text in topic(1, 9, 6) + topic(2, 9, 6)]


@pytest.fixture(scope="module", params=["residual2", "residual1"])
def book(request: pytest.FixtureRequest) -> Codebook:
    return tercet.train_codebook(OLD, codec=request.param, dim=DIM, centroids=64)


def scores_by_id(hits: Hits) -> dict[tuple[int, Any], float]:
    return {(q, hit.id): hit.score for q, row in enumerate(hits) for hit in row}


def test_grown(book: Codebook, tmp_path: Path) -> None:
    grown = book.grown(topic(2, 1), centroids=64)
    assert (grown.centroids, book.centroids) == (128, 64)
    assert grown.extends(book)
    assert book.extends(book)
    assert not book.extends(grown)
    assert grown != book
    assert grown == book.grown(topic(2, 1), centroids=64, threads=1)
    assert grown != book.grown(topic(3, 1), centroids=64)
    grown.save(tmp_path / "book")
    for twin in (pickle.loads(pickle.dumps(grown)), Codebook.open(tmp_path / "book")):
        assert twin == grown
    default = book.grown(NEW).centroids - 64
    assert default == tercet.train_codebook(NEW, codec=book.codec, dim=DIM).centroids


def test_what_has_drifted_fits_again(book: Codebook) -> None:
    before, drifted = book.residual(OLD), book.residual(NEW)
    assert drifted > 1.2 * before
    grown = book.grown(topic(2, 1), centroids=64)
    assert grown.residual(NEW) < (before + drifted) / 2
    assert grown.residual(OLD) < 1.001 * before  # of vectors as they are decoded


def test_what_is_stored_stays(book: Codebook, tmp_path: Path) -> None:
    """Through commits, readers of every age, compact and another start."""
    path = tmp_path / "x"
    with SegmentedIndex.create(path, DIM, codec=book.codec, codebook=book) as index:
        index.add(OLD)
    reader, stale = tercet.open(path), tercet.open(path)
    first = scores_by_id(reader.search(QUESTIONS, TEXTS, exact=True))
    with SegmentedIndex.open(path, mode="r+") as index:
        index.grow_codebook(topic(2, 1), centroids=64)
        index.add(NEW)
        index.commit()
        assert index.codebook == book.grown(topic(2, 1), centroids=64)
        index.add(topic(2, 2, 5))
        assert index.codebook is not None
        assert index.codebook.centroids == 128
    assert stale.codebook == book
    assert stale.stats()["file_bytes"] > 0
    assert scores_by_id(stale.search(QUESTIONS, TEXTS, exact=True)) == first
    assert reader.refresh()
    for index in (reader, tercet.open(path)):
        index.verify()
        assert len(index) == 2 * TEXTS + 5
        found = index.search(QUESTIONS, 2 * TEXTS + 5, exact=True)
        scores = scores_by_id(found)
        assert {key: scores[key] for key in first} == first
        stored = index.get(range(2 * TEXTS + 5))
        truth = tercet.maxsim(QUESTIONS, list(stored))
        for (query, id), score in scores.items():
            assert score == pytest.approx(truth[query, id], abs=0.05)
    with SegmentedIndex.open(path, mode="r+") as index:
        index.compact()
        assert index.stats()["segments"] == 1
        assert same_bits(index.search(QUESTIONS, 2 * TEXTS + 5, exact=True).scores, found.scores)
    again = tercet.open(path)
    assert again.search(QUESTIONS, 2 * TEXTS + 5, exact=True).ids.tolist() == found.ids.tolist()


def test_lists_of_a_grown_codebook(book: Codebook, tmp_path: Path) -> None:
    """Those of older segments are empty for further centroids, also once they are saved again."""
    index = MultiVectorIndex(DIM, codec=book.codec)
    book.share_with(index)
    index.add(OLD)
    assert index.stats()["bytes"]["lists"] > 0
    book.grown(topic(2, 1), centroids=64).share_with(index)
    index.add(NEW)
    index.save(tmp_path / "x")
    for one in (index, tercet.open(tmp_path / "x")):
        one.verify()
        best = one.search(QUESTIONS, 10, exact=True).ids
        found = one.search(QUESTIONS, 10, candidates=150).ids
        same = [len(set(a) & set(b)) / 10 for a, b in zip(best.tolist(), found.tolist(), strict=True)]
        assert np.mean(same) >= 0.9


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_segments_of_a_codebook_and_of_what_it_became(
    book: Codebook, order: tuple[str, str], tmp_path: Path
) -> None:
    grown = book.grown(topic(2, 1), centroids=64)
    for name, used, documents, start in (("old", book, OLD, 0), ("new", grown, NEW, TEXTS)):
        stream = enumerate(documents, start)
        tercet.build_segment(tmp_path / name, stream, dim=DIM, codec=book.codec, codebook=used)
    foreign = tercet.train_codebook(NEW, codec=book.codec, dim=DIM, centroids=64)
    tercet.build_segment(
        tmp_path / "foreign", [(9, OLD[0])], dim=DIM, codec=book.codec, codebook=book.grown(NEW, centroids=8)
    )
    with SegmentedIndex.create(tmp_path / "x", DIM, codec=book.codec) as index:
        index.attach([tmp_path / name for name in order])
        assert index.codebook == grown
        with pytest.raises(ValueError, match="foreign: codebook: it is another one"):
            index.attach([tmp_path / "foreign"])
    one = MultiVectorIndex(DIM, codec=book.codec)
    book.share_with(one)
    one.add(OLD)
    grown.share_with(one)
    one.add(NEW)
    hits = tercet.open(tmp_path / "x").search(QUESTIONS, 20, exact=True)
    wanted = one.search(QUESTIONS, 20, exact=True)
    assert hits.ids.tolist() == wanted.ids.tolist()
    assert same_bits(hits.scores, wanted.scores)
    # Going on with the codebook that a build began with is going on; with another it is not.
    options: dict[str, Any] = {"dim": DIM, "codec": book.codec}
    assert len(SegmentedIndex.build(tmp_path / "x", [], codebook=book, **options)) == 2 * TEXTS
    with pytest.raises(ValueError, match="another codebook"):
        SegmentedIndex.build(tmp_path / "x", [], codebook=foreign, **options)


def test_what_cannot_grow(book: Codebook, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 65472 more than the 64 there are, got 65473"):
        book.grown(OLD, centroids=65473)
    full = tercet.train_codebook(
        np.random.default_rng(0).standard_normal((70_000, 4)).astype(np.float32),
        codec="residual1", dim=4, centroids=65_536,
    )  # fmt: skip
    with pytest.raises(ValueError, match="65536 centroids, and cannot have more"):
        full.grown([np.ones((3, 4), np.float32)])
    with pytest.raises(ValueError, match="expected tokens to train on"):
        book.grown([np.empty((0, DIM), np.float32)])
    with pytest.raises(ValueError, match="sample: expected 24 dimensions, got 8"):
        book.grown([np.ones((3, 8), np.float32)])
    with pytest.raises(ValueError, match="centroids: expected"):
        book.grown(OLD, centroids=0)
    index = SegmentedIndex.create(tmp_path / "x", DIM, codec="int8")
    with pytest.raises(ValueError, match="codec 'int8' has none, or has not been trained"):
        index.grow_codebook(OLD)
    index.close()
    with pytest.raises(io.UnsupportedOperation, match="open for reading"):
        tercet.open(tmp_path / "x").grow_codebook(OLD)  # type: ignore[union-attr]
