"""HNSWIndex: what it finds, whatever was added, removed and allowed."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from levels import run_under, same_bits
from tercet import FlatIndex, HNSWIndex, PackedMask
from tercet.indexes import hnsw

Array = npt.NDArray[Any]
METRICS = ("cosine", "dot", "l2")


def vectors(n: int, dim: int, seed: int = 0, clusters: int = 40) -> Array:
    """Vectors around some directions, as embeddings lie."""
    centres = np.random.default_rng(99).standard_normal((clusters, dim))
    rng = np.random.default_rng(seed)
    rows = centres[rng.integers(0, clusters, n)] + 0.8 * rng.standard_normal((n, dim))
    return rows.astype(np.float32)


def recall(got: Array, want: Array) -> float:
    pairs = zip(got.tolist(), want.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b) - {-1}) / max(1, len(set(b) - {-1})) for a, b in pairs]))


def one_by_one(index: HNSWIndex, queries: Array, k: int, **options: Any) -> tuple[Array, Array]:
    """Search with a query at a time: of many at once, small indexes are compared with all."""
    hits = [index.search(q, k, **options) for q in queries]
    return np.concatenate([h.ids for h in hits]), np.concatenate([h.scores for h in hits])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [7, 48, 130])
@pytest.mark.parametrize("rescore", ["float32", None])
def test_recall(metric: Any, dim: int, rescore: Any) -> None:
    rows, queries = vectors(6000, dim), vectors(60, dim, 1)
    index, flat = HNSWIndex(dim, metric=metric, rescore=rescore), FlatIndex(dim, metric=metric)
    assert index.add(rows).tolist() == list(range(6000))
    flat.add(rows)
    want = flat.search(queries, 10)
    ids, scores = one_by_one(index, queries, 10, ef=80)
    assert recall(ids, want.ids) > (0.97 if rescore else 0.85)
    if rescore:
        assert recall(one_by_one(index, queries, 10, ef=20)[0], want.ids) > 0.8
        for q in range(60):  # the scores are those of the vectors
            expected = flat.search(queries[q], 6000)
            by_id = dict(zip(expected.ids[0].tolist(), expected.scores[0].tolist(), strict=True))
            np.testing.assert_allclose(scores[q], [by_id[i] for i in ids[q].tolist()], rtol=1e-4, atol=1e-4)
            assert (np.diff(scores[q]) <= 0).all()
        hits = index.search(queries, 10, exact=True)
        assert same_bits(hits.ids, want.ids)


def everything(metric: Any) -> dict[str, Array]:
    """Runs at every level of instructions; the results must not depend on it."""
    index = HNSWIndex(67, metric=metric, m=6, ef_construction=40)
    index.add(vectors(900, 67), threads=1)
    index.remove(np.arange(0, 900, 3))
    index.add(vectors(500, 67, 5), threads=2)
    ids, scores = one_by_one(index, vectors(20, 67, 1), 5, ef=12)
    return {"ids": ids, "scores": scores}


@pytest.mark.levels
@pytest.mark.parametrize("metric", METRICS)
def test_every_level_builds_the_same_graph(metric: str) -> None:
    results = {}
    for isa in tercet.cpu_info()["supported"]:
        code = f"import test_hnsw\nresults = test_hnsw.everything({metric!r})"
        results[isa] = run_under(
            isa, f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n" + code
        )
    for isa, other in results.items():
        for name, array in results["scalar"].items():
            assert same_bits(array, other[name]), (isa, name)


def test_threads_do_not_change_the_graph() -> None:
    rows, queries = vectors(3000, 32), vectors(50, 32, 1)
    found = []
    for threads in (1, 2, 5):
        index = HNSWIndex(32)
        index.add(rows, threads=threads)
        found.append(one_by_one(index, queries, 10, ef=10, threads=threads))
    for ids, scores in found[1:]:
        assert same_bits(ids, found[0][0])
        assert same_bits(scores, found[0][1])
    batch = index.search(queries, 10, ef=300)
    assert same_bits(batch.ids, index.search(queries, 10, ef=300, threads=1).ids)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_every_vector_is_found(metric: Any) -> None:
    rows = vectors(4000, 24)
    rows[1000:1400] = rows[0]  # more equal ones than a node has neighbours
    rows[2000:2040] = rows[1]
    index = HNSWIndex(24, metric=metric)
    for part in np.split(rows, 8):
        index.add(part)
    ids, scores = one_by_one(index, rows[::7], 1, ef=64)
    best = index.search(rows[::7], 1, exact=True).scores
    np.testing.assert_allclose(scores, best, rtol=1e-5, atol=1e-5)
    assert (ids >= 0).all()


@pytest.mark.parametrize("part", [0.0005, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("removed", [False, True])
def test_filters(part: float, removed: bool) -> None:
    rows, queries = vectors(5000, 32), vectors(40, 32, 1)
    index, flat = HNSWIndex(32), FlatIndex(32)
    index.add(rows), flat.add(rows)
    if removed:
        for one in (index, flat):
            one.remove(np.arange(100, 400))
    ids = index.ids
    assert same_bits(np.sort(ids), np.sort(flat.ids))
    chosen = np.random.default_rng(2).random(len(ids)) < part
    allowed = ids[chosen]
    want = flat.search(queries, 10, filter=allowed)
    for given in (allowed, chosen, PackedMask.pack(chosen), [allowed] * 40):
        hits = index.search(queries, 10, ef=64, filter=given)
        assert ((hits.ids >= 0).sum(axis=1) == min(10, len(allowed))).all()
        assert np.isin(hits.ids[hits.ids >= 0], allowed).all()
        assert recall(hits.ids, want.ids) > 0.95
    got, _ = one_by_one(index, queries, 10, ef=64, filter=chosen)
    assert ((got >= 0).sum(axis=1) == min(10, len(allowed))).all()
    assert np.isin(got[got >= 0], allowed).all()
    assert recall(got, want.ids) > 0.95


def test_changing_everything_over_and_over() -> None:
    rng = np.random.default_rng(3)
    index, flat = HNSWIndex(32), FlatIndex(32)
    rows, queries = vectors(2000, 32), vectors(50, 32, 1)
    ids = index.add(rows)
    flat.add(rows, ids)
    for turn in range(10):
        gone = rng.permutation(index.ids)[:900]
        for one in (index, flat):
            one.remove(gone)
        with pytest.raises(KeyError):
            index.remove(gone[:1])
        rows = vectors(900, 32, 10 + turn)
        new = index.add(rows)
        flat.add(rows, new)
        some, rows = rng.permutation(index.ids)[:100], vectors(100, 32, 50 + turn)
        for one in (index, flat):
            one.add(rows, some)  # replaces
        assert len(index) == len(flat) == 2000
        assert set(index.ids.tolist()) == set(flat.ids.tolist())
        got, _ = one_by_one(index, queries, 10, ef=64)
        assert np.isin(got, flat.ids).all()
        want = flat.search(queries, 10).ids
        assert recall(got, want) > 0.97
    assert index.stats()["removed"] <= 300
    np.testing.assert_allclose(index.get(some), reference.unit(rows), atol=1e-6)
    fresh = HNSWIndex(32)
    fresh.add(flat.get(flat.ids), flat.ids)
    again = recall(one_by_one(fresh, queries, 10, ef=20)[0], want)
    assert recall(one_by_one(index, queries, 10, ef=20)[0], want) > again - 0.03
    index.remove(index.ids)
    assert len(index) == 0
    assert (index.search(queries, 3).ids == -1).all()
    index.add(rows, [f"text {i}" for i in range(100)])
    assert index.search(rows[7], 1).ids[0, 0] == "text 7"


def test_few_vectors() -> None:
    index = HNSWIndex(4)
    assert index.search(np.ones(4, np.float32), 3).ids.tolist() == [[-1, -1, -1]]
    for n in range(40):
        index.add(vectors(1, 4, n), [n])
        hits = index.search(vectors(1, 4, n), n + 3)
        assert sorted(hits.ids[0, : n + 1].tolist()) == list(range(n + 1))
        assert (hits.ids[0, n + 1 :] == -1).all()
        assert hits.ids[0, 0] == n


def test_searches_while_others_change() -> None:
    index = HNSWIndex(16)
    index.add(vectors(1500, 16), np.arange(1500))
    queries, stop, errors = vectors(20, 16, 1), threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            hits = index.search(queries, 5, ef=16)
            if (hits.ids < 0).any():
                errors.append("a place unfilled")

    def change(first: int) -> None:
        for turn in range(6):
            ids = np.arange(first, first + 200)
            index.add(vectors(200, 16, first + turn), ids)
            if not np.isin(ids, index.ids).all():
                errors.append("an id is missing")
            index.remove(ids)

    searchers = [threading.Thread(target=search) for _ in range(3)]
    changers = [threading.Thread(target=change, args=(10000 * i,)) for i in (1, 2)]
    for thread in searchers + changers:
        thread.start()
    for thread in changers:
        thread.join()
    stop.set()
    for thread in searchers:
        thread.join()
    assert not errors
    assert sorted(index.ids.tolist()) == list(range(1500))


@pytest.mark.parametrize("codec", ["int8", "float32"])
def test_equal_scores_are_in_the_order_of_ids(codec: Any) -> None:
    index = HNSWIndex(8, codec=codec)
    index.add(np.ones((100, 8), np.float32), np.arange(100)[::-1])
    query = np.ones(8, np.float32)
    assert index.search(query, 5, exact=True).ids[0].tolist() == [0, 1, 2, 3, 4]
    assert index.search(query, 5, exact=True, filter=range(50, 90)).ids[0].tolist() == [50, 51, 52, 53, 54]


def test_a_sample_that_others_remove_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    index = HNSWIndex(8)
    index.add(vectors(1200, 8))
    sample, taken = hnsw.recall_for_vectors, []

    def meanwhile(native: Any, k: int) -> Any:
        recall_of = sample(native, k)
        if not taken:
            index.remove(range(600))
        taken.append(k)
        return recall_of

    monkeypatch.setattr(hnsw, "recall_for_vectors", meanwhile)
    assert index.estimate_recall(100) > 0.9
    assert taken == [10, 10]


def test_calibration() -> None:
    index = HNSWIndex(48)
    index.add(vectors(5000, 48))
    width = index.calibrate(0.95)
    assert 10 <= width < 500
    assert index.estimate_recall(width) >= 0.95
    assert index.calibrate(0.95) == width
    index.add(vectors(3000, 48, 7, clusters=1))
    assert index.estimate_recall(index.calibrate(0.95)) >= 0.95  # found anew
    assert (
        recall(
            index.search(vectors(50, 48, 1), target_recall=0.95).ids,
            index.search(vectors(50, 48, 1), exact=True).ids,
        )
        > 0.9
    )


def test_the_estimate_is_that_of_new_queries() -> None:
    rng = np.random.default_rng(6)
    rows = (rng.standard_normal((6200, 20)) @ rng.standard_normal((20, 64))).astype(np.float32)
    index, queries = HNSWIndex(64, m=8), rows[6000:]
    index.add(rows[:6000])
    want = index.search(queries, 10, exact=True).ids
    for ef in (10, 20, 40):
        got, _ = one_by_one(index, queries, 10, ef=ef)
        assert abs(index.estimate_recall(ef) - recall(got, want)) < 0.15


def test_recall_of_given_queries() -> None:
    """Queries that are unlike the vectors need more than vectors of the index do."""
    rows, strange = vectors(8000, 48), vectors(300, 48, 3, clusters=1) - vectors(300, 48, 4)
    index = HNSWIndex(48, m=6, ef_construction=40)
    index.add(rows, [f"text {i}" for i in range(8000)])
    want = index.search(strange, 10, exact=True).ids
    for ef in (20, 80):
        got, _ = one_by_one(index, strange, 10, ef=ef)
        assert index.estimate_recall(ef, queries=strange) == pytest.approx(recall(got, want))
    usual, width = index.calibrate(0.95), index.calibrate(0.95, queries=strange)
    assert width > usual
    assert index.calibrate(0.95) == usual  # is not that of other queries
    got, _ = one_by_one(index, strange, 10, ef=width)
    assert recall(got, want) >= 0.95
    assert index.estimate_recall(9000, 9000, queries=strange[0]) == 1
    assert HNSWIndex(48).estimate_recall(20, queries=strange) == 1
    with pytest.raises(ValueError, match="queries: expected 48 dimensions, got 47"):
        index.calibrate(0.95, queries=strange[:, 1:])
    with pytest.raises(ValueError, match="queries: expected at least one row"):
        index.estimate_recall(20, queries=strange[:0])


def test_codes_alone_prove_nothing() -> None:
    """There is no exact search, as in a FlatIndex; recall is measured against the best by their codes."""
    index, queries = HNSWIndex(32, m=8, rescore=None), vectors(100, 32, 1)
    index.add(vectors(3000, 32))
    with pytest.raises(
        ValueError, match=r"exact: codec 'int8' does not keep the vectors; .* rescore='float32'"
    ):
        index.search(queries, exact=True)
    for given in (None, queries):
        assert index.estimate_recall(10, queries=given) < 0.99
        assert index.estimate_recall(3000, queries=given) > 0.999
        assert index.estimate_recall(index.calibrate(0.98, queries=given), queries=given) >= 0.98


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"m": 1}, ValueError, "m: expected 2 to 128, got 1"),
        ({"m": 129}, ValueError, "m: expected 2 to 128, got 129"),
        ({"m": 2.5}, TypeError, "m"),
        ({"ef_construction": 0}, ValueError, "ef_construction"),
        ({"codec": "int4"}, ValueError, "codec: expected one of int8, float32, got 'int4'"),
        ({"rescore": "int8"}, ValueError, "rescore: expected 'float32' or None, got 'int8'"),
        ({"metric": "manhattan"}, ValueError, "metric: expected 'cosine', 'dot' or 'l2', got 'manhattan'$"),
        ({"metric": 3}, TypeError, "metric: expected str"),
        ({"dim": 0}, ValueError, "dim"),
        ({"seed": 0}, TypeError, "seed"),  # there is no randomness
    ],
)
def test_bad_settings(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        HNSWIndex(**{"dim": 8, **options})


@pytest.mark.parametrize("cls", [FlatIndex, HNSWIndex])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ip", "dot"),
        ("inner_product", "dot"),
        ("Dot", "dot"),
        ("euclidean", "l2"),
        ("L2", "l2"),
        ("squared-euclidean", "l2"),
        ("cosine similarity", "cosine"),
        ("angular", "cosine"),
    ],
)
def test_metrics_by_other_names(cls: Any, name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"got '{name}'; did you mean '{meant}'\\?"):
        cls(8, metric=name)


def test_bad_arguments() -> None:
    index = HNSWIndex(8)
    index.add(vectors(10, 8))
    query = vectors(1, 8)
    for call, message in [
        (lambda: index.search(query, ef=10, target_recall=0.9), "expected one of them"),
        (lambda: index.search(query, ef=0), "ef"),
        (lambda: index.search(query, target_recall=1.5), "target_recall: expected .* got 1.5"),
        (lambda: index.search(vectors(1, 9)), "8 dimensions, got 9"),
        (lambda: index.search(query, filter=np.ones(9, bool)), "mask of 10"),
        (lambda: index.add(vectors(2, 8), [3, 3]), "twice"),
        (lambda: index.add(np.full((2, 8), np.nan, np.float32)), "not finite"),
        (lambda: index.add(np.empty((0, 8), np.float32)), "at least one row"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    for wrong in ("a", None, True, [0.9], 1j):
        with pytest.raises(TypeError, match="target_recall: expected a number, got"):
            index.calibrate(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="target_recall: expected a number, got str"):
        index.search(query, target_recall="a")  # type: ignore[arg-type]
    assert len(index) == 10
    index.add(vectors(100, 8))
    assert index.calibrate(np.float32(0.5)) == 10


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rescore", ["float32", None])
def test_saving(metric: Any, rescore: Any, tmp_path: Path) -> None:
    index = HNSWIndex(12, metric=metric, m=5, rescore=rescore)
    empty = HNSWIndex(12)
    empty.save(tmp_path / "empty")
    assert len(tercet.open(tmp_path / "empty")) == 0
    index.add(vectors(900, 12), [f"t{i}" for i in range(900)])
    index.remove([f"t{i}" for i in range(0, 900, 4)])  # repaired: there are free nodes
    index.add(vectors(30, 12, 3), [f"u{i}" for i in range(30)])
    index.remove([f"t{i}" for i in range(1, 60, 4)])  # not yet repaired
    queries = vectors(20, 12, 1)
    want = one_by_one(index, queries, 7, ef=20)
    index.save(tmp_path / "x")
    copies = [tercet.open(tmp_path / "x"), pickle.loads(pickle.dumps(index)), copy.deepcopy(index)]
    for other in copies:
        assert isinstance(other, HNSWIndex)
        assert other.stats() == index.stats()
        for got, expected in zip(one_by_one(other, queries, 7, ef=20), want, strict=True):
            assert same_bits(got, expected)
    for one in (index, *copies):  # they go on alike
        one.add(vectors(300, 12, 4), [f"v{i}" for i in range(300)])
        one.remove([f"t{i}" for i in range(2, 400, 4)])
    for other in copies:
        for got, expected in zip(one_by_one(other, queries, 7), one_by_one(index, queries, 7), strict=True):
            assert same_bits(got, expected)


def test_ctrl_c_withdraws_an_add() -> None:
    """In a process of its own, since the alarm must come while vectors are added, however fast that is."""
    script = """
import signal, numpy as np, tercet

vectors = np.random.default_rng(0).standard_normal((60_000, 96)).astype(np.float32)
index = tercet.HNSWIndex(96)
index.add(vectors[:100])
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    index.add(vectors, threads=1)
    print("added")
except KeyboardInterrupt:
    assert len(index) == 100 and index.ids.tolist() == list(range(100))
    index.add(vectors[:500], range(1000, 1500))
    assert (index.search(vectors[:500], 1, filter=range(1000, 1500)).ids[:, 0] == np.arange(1000, 1500)).all()
    print("withdrawn")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("withdrawn\n", "")


@pytest.mark.parametrize("kept", [0, 1, 50, 900, 2400])
def test_nearly_all_removed_and_added_again_at_once(kept: int) -> None:
    vectors = np.random.default_rng(kept).random((6000, 8)).astype(np.float32)
    index = tercet.HNSWIndex(8, metric="l2")
    index.add(vectors)
    index.remove(range(kept, 6000))
    index.add(vectors[kept:], range(kept, 6000))
    assert (index.search(vectors, 1, ef=100).ids[:, 0] == np.arange(6000)).mean() > 0.999


@pytest.mark.parametrize("size", [2, 3, 10, 16, 17, 30])
def test_small_graphs_know_their_recall(size: int) -> None:
    index = tercet.HNSWIndex(8)
    index.add(np.random.default_rng(size).standard_normal((size, 8)).astype(np.float32))
    assert index.estimate_recall(size + 1) == 1
    assert index.calibrate(0.9) == 10
