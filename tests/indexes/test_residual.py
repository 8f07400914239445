"""Codecs of residuals: what is stored is the difference from a centroid."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from container import build, parse
from levels import run_under, same_bits
from tercet import FlatIndex, MultiVectorIndex, TokenVectors, watching
from tercet.indexes.storage import as_json

Array = npt.NDArray[Any]
BITS = {"residual2": 2, "residual1": 1}
CODECS = (*BITS, "pq16")

pytestmark = pytest.mark.filterwarnings("ignore:codec .* is trained once")  # on few tokens


def clustered(n: int, dim: int, seed: int = 0) -> Array:
    """Unit vectors around a hundred directions."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((100, dim))[rng.integers(0, 100, n)] + 0.6 * rng.standard_normal((n, dim))
    return reference.unit(rows.astype(np.float32))


def documents(n: int, dim: int, seed: int = 0) -> TokenVectors:
    lengths = np.random.default_rng(seed).integers(0, 30, n)
    return TokenVectors(clustered(lengths.sum(), dim, seed), np.cumsum([0, *lengths]))


def state_of(index: Any) -> dict[str, Array]:
    """The arrays that the index saves."""
    return parse(index._native.dump(as_json(index._header())))[1]


def search_everything(dim: int, codec: Any) -> dict[str, Array]:
    """Runs at every level; the test process compares with the reference."""
    index = MultiVectorIndex(dim, codec=codec)
    index.add(documents(60, dim))
    hits = index.search([clustered(n, dim, n) for n in (1, 7, 32, 45)], 60, threads=1)
    state = state_of(index)
    return {"found": hits.ids, "scores": hits.scores, **state}


@pytest.mark.levels
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dim", [3, 64, 96, 128, 200, 700])
def test_scores_on_every_level(codec: str, dim: int) -> None:
    queries = [clustered(n, dim, n) for n in (1, 7, 32, 45)]
    states = {}
    for isa in tercet.cpu_info()["supported"]:
        code = f"import test_residual\nresults = test_residual.search_everything({dim}, {codec!r})"
        code = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n" + code
        states[isa] = run_under(isa, code)
    state = states["scalar"]
    for isa, other in states.items():  # the codebook, the codes and the scores
        for name, array in state.items():
            assert same_bits(array, other[name]), (isa, name)
    rows = np.concatenate(queries)
    if codec in BITS:
        grid = reference.residual_dot(rows, state, BITS[codec])
    else:
        grid = reference.product_dot(rows, state)
    scores = reference.maxsim(grid, reference.offsets(queries), state["offsets"])
    ids, best = reference.topk(scores, 60)
    assert same_bits(state["scores"], best)
    assert same_bits(state["found"], ids)


@pytest.mark.parametrize("codec", BITS)
def test_error_of_what_is_stored(codec: Any) -> None:
    """Smaller than that of the same bits without centroids, and about that of a residual's share."""
    tokens = TokenVectors(clustered(4000, 64), np.arange(0, 4001, 20))
    errors = {}
    for name in (codec, "int2" if codec == "residual2" else "binary"):
        index = MultiVectorIndex(64, codec=name)
        index.add(tokens)
        errors[name] = np.linalg.norm(index.get(index.ids).values - tokens.values, axis=1).mean()
    # within a cluster 0.6 / sqrt(1 + 0.36) of the length is left
    assert errors[codec] < 0.6 * list(errors.values())[1]


def test_training() -> None:
    docs = documents(80, 32)
    index = MultiVectorIndex(32, codec="residual2")
    assert index.stats()["centroids"] == 0
    index.train(docs, centroids=50)
    assert index.stats()["centroids"] == 50
    assert len(index) == 0
    with pytest.raises(ValueError, match="trained already"):
        index.train(docs)
    index.add(documents(5, 32, 9))
    assert index.stats()["centroids"] == 50  # add() does not train what is trained
    one, two = (MultiVectorIndex(32, codec="residual1") for _ in range(2))
    one.add(docs, threads=1)
    two.add(docs, threads=3)
    for name, array in state_of(one).items():
        assert same_bits(array, state_of(two)[name]), name
    assert one.stats()["centroids"] == 256  # 16 sqrt(1,150), but one for four tokens


@pytest.mark.parametrize(
    ("vectors", "options", "error", "message"),
    [
        (np.ones((4, 8)), {"centroids": 0}, ValueError, "centroids: expected at least 1"),
        (np.ones((4, 8)), {"centroids": 65537}, ValueError, "at most 65536, got 65537"),
        (np.ones((4, 8)), {"centroids": 2.0}, TypeError, "centroids"),
        (np.ones((4, 8)), {"iterations": 0}, ValueError, "iterations"),
        (np.ones((4, 8)), {"threads": 0}, ValueError, "threads"),
        (np.ones((4, 7)), {}, ValueError, "8 dimensions, got 7"),
        (np.ones((0, 8)), {}, ValueError, "tokens to train on, got none"),
        (np.full((4, 8), np.nan), {}, ValueError, "row 0 .*not finite"),
        (np.full((4, 8), 1e20), {}, ValueError, "row 0 .*1e\\+20"),
    ],
)
def test_bad_training(vectors: Any, options: Any, error: type[Exception], message: str) -> None:
    index = MultiVectorIndex(8, codec="residual2")
    with pytest.raises(error, match=message):
        index.train(vectors.astype(np.float32), **options)
    assert index.stats()["centroids"] == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 17])
def test_few_tokens(codec: Any, tokens: int) -> None:
    rows = clustered(tokens, 16)
    index = MultiVectorIndex(16, codec=codec)
    index.add([np.empty((0, 16), np.float32)], ["nothing"])  # nothing to train on yet
    index.add([rows], ["all"])
    hits = index.search(rows, 2)
    assert hits.ids.tolist() == [["all", "nothing"]]
    assert hits.scores[0, 1] == -np.inf
    assert hits.scores[0, 0] > 0.5 * tokens


@pytest.mark.parametrize("codec", CODECS)
def test_equal_tokens(codec: Any) -> None:
    rows = np.repeat(clustered(1, 16), 300, axis=0)
    index = MultiVectorIndex(16, codec=codec)
    index.add([rows, rows])
    np.testing.assert_allclose(index.get(0).values, rows, atol=1e-2)
    np.testing.assert_allclose(index.search(rows[:3], 2).scores, 3, atol=0.1)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [0, 1e-45, 1e-38, 1e-30, 1e-10, 1e10])
def test_queries_of_any_length(codec: Any, size: float) -> None:
    index = MultiVectorIndex(16, codec=codec)
    docs = documents(30, 16)
    index.add(docs)
    query = clustered(4, 16, 5)
    scores = index.search(query * np.float32(size), 30).scores
    assert not np.isnan(scores).any()
    if size >= 1e-30:
        np.testing.assert_allclose(scores, index.search(query, 30).scores * size, rtol=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_changing_and_saving(codec: Any, tmp_path: Path) -> None:
    docs = documents(50, 24)
    index = MultiVectorIndex(24, codec=codec)
    index.add(docs)
    for i in range(0, 50, 3):
        index.add([docs.values[docs.offsets[i] : docs.offsets[i + 1]][::-1]], [i])
    index.remove([1, 2, 40])
    index.add(documents(4, 24, 3))
    queries = [clustered(n, 24, n) for n in (3, 33)]
    want = index.search(queries, 60)
    fresh = MultiVectorIndex(24, codec=codec)  # under the same codebook, in another order
    fresh.train(docs)
    fresh.add(documents(4, 24, 3), [50, 51, 52, 53])
    for i in index.ids.tolist():
        if i < 50:
            rows = docs.values[docs.offsets[i] : docs.offsets[i + 1]]
            fresh.add([rows if i % 3 else rows[::-1]], [i])
    index.save(tmp_path / "x")
    copies = [tercet.open(tmp_path / "x"), pickle.loads(pickle.dumps(index)), copy.deepcopy(index), fresh]
    for other in copies:
        got = other.search(queries, 60)
        assert same_bits(got.ids, want.ids)
        assert same_bits(got.scores, want.scores)
    assert copies[0].stats()["centroids"] == index.stats()["centroids"]
    hits = index.rerank(queries, want, 5)
    assert same_bits(hits.scores, want.scores[:, :5])


@pytest.mark.parametrize("codec", ["residual2", "pq16"])
def test_codebooks_that_do_not_fit(codec: Any) -> None:
    index = MultiVectorIndex(8, codec=codec)
    index.add(documents(20, 8))
    settings, state = parse(index._native.dump(as_json(index._header())))
    for name, change in [
        ("centroids", lambda a: a[:-1]),
        ("centroids", lambda a: a + np.uint16(60000)),
        ("codebook_codes", lambda a: a[:-1]),
        ("codebook_scales", lambda a: a[:-1]),
        ("codebook_scales", lambda a: np.full_like(a, 0x7FC0)),
        ("codebook_offsets", lambda a: a[:0]),
        ("codebook_offsets", lambda a: a[::-1]),
        ("codec_parameters", lambda a: a[1:] if len(a) else np.ones(1, np.float32)),
        ("codec_parameters", lambda a: np.full(max(len(a), 1), np.nan, np.float32)),
    ]:
        broken = {**state, name: np.ascontiguousarray(change(state[name]))}
        with pytest.raises(ValueError, match="pickle: damaged index"):
            MultiVectorIndex._from_bytes(build(settings, broken))


def test_single_vectors_have_no_residuals() -> None:
    with pytest.raises(ValueError, match="residual2"):
        FlatIndex(8, codec="residual2")  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", CODECS)
def test_training_on_few_tokens_warns(codec: Any) -> None:
    few, many = clustered(999, 16), clustered(1000, 16)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for tokens in (few, many):
            index = MultiVectorIndex(16, codec=codec)
            assert not index.trained
            index.add([tokens])
            assert index.trained
            index.add([few[:3]])  # trained already
        MultiVectorIndex(16, codec="int8").add([few[:3]])
    assert [str(w.message) for w in caught] == [
        f"codec {codec!r} is trained once, and on 999 tokens only: train() another on more"
    ]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("codec", CODECS)
def test_searching_before_there_is_a_token(codec: Any) -> None:
    index = MultiVectorIndex(8, codec=codec)
    index.add([np.empty((0, 8), np.float32)], [5])
    hits = index.search(np.ones((40, 8), np.float32), 2)
    assert hits.ids.tolist() == [[5, -1]]
    assert (hits.scores == -np.inf).all()


@pytest.mark.parametrize("codec", ["residual2", "pq16", "float32"])
def test_training_says_how_far_it_is(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In vectors, each of which is assigned three times; and from the thread that asked."""
    monkeypatch.setattr(watching, "_INTERVAL", 0.001)
    rows = clustered(20_000, 32)
    calls: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        threads.add(threading.get_ident())

    index, twin = (MultiVectorIndex(32, codec=codec) for _ in range(2))
    index.train(rows[None], centroids=512, progress=progress)
    twin.train(rows[None], centroids=512)
    assert len(calls) > 2
    assert calls == sorted(calls)
    assert calls[-1] == (3 * 20_000, 3 * 20_000)
    assert threads == {threading.get_ident()}
    for each in (index, twin):
        each.add(documents(20, 32))
    assert all(
        same_bits(a, b) for a, b in zip(state_of(index).values(), state_of(twin).values(), strict=True)
    )

    def give_up(done: int, total: int) -> None:
        raise KeyboardInterrupt

    stopped = MultiVectorIndex(32, codec=codec)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(rows[None], centroids=512, progress=give_up)
    assert stopped.stats()["centroids"] == 512  # it is done all the same
    with pytest.raises(ValueError, match="trained already"):
        stopped.train(rows[None], progress=progress)
    if codec != "float32":
        book = tercet.train_codebook(rows[None], codec=codec, dim=32, centroids=512, progress=progress)
        assert book == tercet.Codebook(index)
