"""Shards in processes of their own, by Ray, against one index in this one."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from clustered_texts import DIM, queries, texts
from fakes import BagOfWords, WordVectors

from .test_examples import installed

if not installed("ray"):
    pytest.skip("needs ray", allow_module_level=True)

import ray

from tercet.ray import MissingShardsError, ShardedIndex, build_shards
from tercet.ray.building import _check_distinct
from tercet.ray.shards import places
from tercet.ray.streams import load_encoder, pairs
from tercet.ray.workers import _Worker

F32 = np.float32
pytestmark = pytest.mark.filterwarnings("ignore:codec .* is trained once")  # on few tokens
TOKENS = texts(400, 2)
NAMES = [f"paper {i}" for i in range(400)]
QUERIES = queries(7, 50)
ROWS = np.random.default_rng(5).standard_normal((300, 24), F32)
NUMBERS = np.random.default_rng(6).permutation(900)[:300]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    small = {"num_cpus": 2, "object_store_memory": 80 << 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # other processes import fakes too
        ray.init(**small, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


def same(found: tercet.Hits, expected: tercet.Hits) -> None:
    assert found.ids.tolist() == expected.ids.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)


def flip(file: Path, place: float) -> None:
    """Put a file with one byte changed in the place of a file: who has it open keeps what was there."""
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 1
    changed = file.with_suffix(".changed")
    changed.write_bytes(data)
    changed.replace(file)


# ---- token vectors: four shards in four processes


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards and an empty one, with a codebook of a sample of all."""
    path = tmp_path_factory.mktemp("ray") / "papers"
    shards = [list(zip(NAMES[i::4], TOKENS[i::4], strict=True)) for i in range(4)]
    seen: list[Any] = []
    build_shards(
        path,
        [*shards[:3], ray.put(shards[3]), []],
        tercet.MultiVectorIndex(DIM, codec="residual2", seed=3),
        sample=1200,
        progress=lambda *counts: seen.append(counts),
    )
    assert seen == [(i, 5) for i in range(1, 6)]
    assert not path.with_name("papers.parts").exists()
    return path


@pytest.fixture(scope="module")
def one(papers: Path) -> tercet.MultiVectorIndex:
    """The same documents in one index."""
    index = tercet.MultiVectorIndex(DIM, codec="residual2", seed=3)
    book = tercet.SegmentedIndex.open(papers).codebook
    assert book is not None
    book.share_with(index)
    index.add(TOKENS, NAMES)
    return index


@pytest.fixture(scope="module")
def sharded(papers: Path) -> Iterator[ShardedIndex]:
    with ShardedIndex.open(papers, options={"max_restarts": -1}) as index:
        yield index


def test_four_shards_answer_as_one_index(sharded: ShardedIndex, one: tercet.MultiVectorIndex) -> None:
    assert len(sharded) == 400
    assert len(sharded.stats()["per_shard"]) == 4
    assert sorted(sharded.ids) == sorted(NAMES)
    for k in (1, 10, 1000):
        same(sharded.search(QUERIES, k, exact=True), one.search(QUERIES, k, exact=True))
    found = sharded.search(QUERIES)  # so few are all compared
    same(found, one.search(QUERIES))
    assert found.missing == ()
    same(sharded.search(QUERIES, candidates=400, threads=1), one.search(QUERIES, exact=True))
    same(sharded.search(QUERIES[0]), one.search(QUERIES[0]))
    sharded.verify()


@pytest.mark.parametrize("exact", [False, True])
def test_filters(sharded: ShardedIndex, one: tercet.MultiVectorIndex, exact: bool) -> None:
    def ending(ids: Any) -> Any:
        return np.array([id.endswith("7") for id in ids])

    some = ["paper 3", "unknown", *NAMES[50:90]]
    for filter in (some, [some, None, [], *[some] * 4]):
        same(sharded.search(QUERIES, filter=filter, exact=exact), one.search(QUERIES, filter=filter))
    here, there = ending(sharded.ids), ending(one.ids)
    expected = one.search(QUERIES, filter=there)
    same(sharded.search(QUERIES, filter=here, exact=exact), expected)
    same(sharded.search(QUERIES, filter=tercet.PackedMask.pack(here), exact=exact), expected)
    mixed = sharded.search(QUERIES[:2], filter=[here, some], exact=exact)
    same(mixed, one.search(QUERIES[:2], filter=[there, some]))


def test_bad_questions(sharded: ShardedIndex) -> None:
    bad: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (TypeError, "unexpected keyword argument 'ef'", {"ef": 10}),
        (TypeError, "this index has str ids, got int", {"filter": [1]}),
        (ValueError, "a mask of 400 .* got 3", {"filter": np.ones(3, bool)}),
        (ValueError, "expected one of them, got both", {"candidates": 9, "target_recall": 0.5}),
        (ValueError, "k: expected at least 1", {"k": 0}),
    ]
    for kind, message, arguments in bad:
        with pytest.raises(kind, match=message):
            sharded.search(QUERIES, **arguments)
    with pytest.raises(ValueError, match=f"expected {DIM} dimensions, got 3"):
        sharded.search(np.ones((2, 3), F32))


def test_a_lost_actor_comes_back(sharded: ShardedIndex, one: tercet.MultiVectorIndex) -> None:
    """One is killed while searches go on: all of them answer, and completely."""
    expected = one.search(QUERIES, 20, exact=True)
    lost = sharded._actors[2]
    process = ray.get(lost.__ray_call__.remote(lambda actor: os.getpid()))
    killer = threading.Timer(0.2, os.kill, [process, signal.SIGKILL])
    killer.start()
    for _ in range(60):
        same(sharded.search(QUERIES, 20, exact=True), expected)
    killer.join()
    assert ray.get(lost.__ray_call__.remote(lambda actor: os.getpid())) != process
    ray.kill(sharded._actors[0], no_restart=False)  # and while nobody asks
    same(sharded.search(QUERIES, 20, exact=True), expected)


def test_it_can_be_sent_to_a_task(sharded: ShardedIndex, one: tercet.MultiVectorIndex) -> None:
    task = ray.remote(lambda index: index.search(QUERIES, 3, partial=True))
    found = ray.get(task.remote(sharded))
    same(found, one.search(QUERIES, 3))
    assert found.missing == ()


def test_missing_shards_are_named(papers: Path, one: tercet.MultiVectorIndex) -> None:
    index = ShardedIndex.open(papers, actors=2, options={"max_restarts": 0, "max_task_retries": 0})
    with index:
        first, second = (set(shard["files"]) for shard in index.stats()["per_shard"])
        assert len(first) == len(second) == 2
        index._actors[0].__ray_call__.remote(lambda actor: time.sleep(3))
        with pytest.raises(MissingShardsError, match=r"no answer within 0\.5 s") as late:
            index.search(QUERIES, timeout=0.5)
        assert set(late.value.missing) == first
        assert set(index.search(QUERIES, timeout=0.5, partial=True).missing) == first
        same(index.search(QUERIES), one.search(QUERIES))  # it waits for all of them
        ray.kill(index._actors[0], no_restart=False)
        with pytest.raises(MissingShardsError, match=f"{min(first)}: its process is lost") as lost:
            index.search(QUERIES)
        assert set(lost.value.missing) == first
        assert pickle.loads(pickle.dumps(lost.value)).missing == lost.value.missing
        left = index.search(QUERIES, partial=True)
        assert set(left.missing) == first
        assert pickle.loads(pickle.dumps(left)).missing == left.missing
        there = [i for i in NAMES if i in set(tercet.SegmentedIndex.open(papers).ids[200:])]
        same(left, one.search(QUERIES, filter=there))
        actors = index._actors
    with pytest.raises(ValueError, match="closed"):
        index.search(QUERIES)
    for actor in actors:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(actor.ask.remote("__len__"))


def test_no_room_for_an_actor(papers: Path) -> None:
    with pytest.raises(MissingShardsError, match=r"no answer within 0\.5 s"):
        ShardedIndex.open(papers, actors=1, options={"num_cpus": 99}, timeout=0.5)


def test_removed_documents(tmp_path: Path) -> None:
    """The segments of any SegmentedIndex, some documents of which are removed or replaced."""
    path = tmp_path / "numbers"
    with tercet.SegmentedIndex.create(path, DIM, memory=1) as writer:  # each add makes a segment
        for first in range(0, 300, 60):
            writer.add(TOKENS[first : first + 60], range(first, first + 60))
        writer.remove(range(10, 30))
        writer.add(TOKENS[300:310], range(60, 70))
    there = tercet.open(path)
    assert len(there.stats()["per_segment"]) == 6
    with ShardedIndex.open(path, actors=2) as index:
        assert index.ids.tolist() == there.ids.tolist()  # so that masks are of both
        mask = index.ids % 3 == 0
        same(index.search(QUERIES, 400, filter=mask, exact=True), there.search(QUERIES, 400, filter=mask))
        damaged = path / index.stats()["per_shard"][0]["files"][1]
        flip(damaged, 0.5)
        same(index.search(QUERIES), there.search(QUERIES))  # both have it open
        ray.kill(index._actors[0], no_restart=False)
        with pytest.raises(ValueError, match=re.escape(str(damaged))):
            index.search(QUERIES, partial=True)  # it is not missing


# ---- single vectors


@pytest.mark.parametrize("like", [tercet.FlatIndex(24, metric="l2"), tercet.HNSWIndex(24, m=4)], ids=repr)
def test_single_vectors(tmp_path: Path, like: Any) -> None:
    path = tmp_path / "vectors"
    shards: list[Any] = [lambda i=i: [(NUMBERS[i::4], ROWS[i::4])] for i in range(4)]
    build_shards(path, [*shards[:2], list, *shards[2:]], like, actors=1)
    one = pickle.loads(pickle.dumps(like))
    one.add(ROWS, NUMBERS)
    asked = ROWS[:9] + F32(0.1)
    with ShardedIndex.open(path, actors=2) as index:
        assert len(index) == 300
        assert index.dim == 24
        for k in (10, 500):
            same(index.search(asked, k, exact=True), one.search(asked, k, exact=True))
        same(
            index.search(asked[0], filter=[3, 4], exact=True), one.search(asked[0], filter=[3, 4], exact=True)
        )
        mask = index.ids % 2 == 0
        same(
            index.search(asked, filter=mask, exact=True),
            one.search(asked, filter=one.ids % 2 == 0, exact=True),
        )
        if isinstance(like, tercet.HNSWIndex):
            best = index.search(asked, exact=True).ids
            found = index.search(asked, ef=100).ids
            assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, found, strict=True)]) > 0.9
            index.search(asked, target_recall=0.9)
        index.verify()
    file = path / "shard-00001.tercet"
    flip(file, 0.5)
    with pytest.raises(ValueError, match=r"shard-00001\.tercet"):
        places(path, 1)[0][0].open().search(asked, 10, exact=True)
    shutil.copy(path / "shard-00003.tercet", file)
    with pytest.raises(ValueError, match=r"shard-00001\.tercet: not the file that the manifest names"):
        places(path, None)[0][1].open()
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-00001\.tercet"):
        places(path, None)[0][1].open()
    flip(path / "manifest.json", 0.5)
    with pytest.raises(ValueError, match=r"manifest\.json: damaged"):
        ShardedIndex.open(path)


# ---- what builds


DOCUMENTS = [{"_id": f"t{i}", "title": f"number {i % 7}", "text": f"words {i % 5}"} for i in range(40)]


def test_texts_are_encoded_in_actors(tmp_path: Path) -> None:
    file, like = tmp_path / "some.jsonl", tercet.MultiVectorIndex(32, codec="int8")
    file.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS[:30]))
    shards = [file, lambda: iter(DOCUMENTS[30:])]
    build_shards(tmp_path / "made", shards, like, encoder=WordVectors, pool=2, actors=1)
    contents = [f"{document['title']} {document['text']}" for document in DOCUMENTS]
    like.add(WordVectors().encode_document(contents), [document["_id"] for document in DOCUMENTS], pool=2)
    asked = WordVectors().encode_query(["words 3", "number 5"])
    same(tercet.open(tmp_path / "made").search(asked), like.search(asked))


def test_what_is_wrong_in_an_actor_names_the_shard(tmp_path: Path) -> None:
    """Ray is not asked here: an actor is an object like others."""
    nameless = tmp_path / "nameless.jsonl"
    nameless.write_text('{"text": "some"}')
    words = partial(WordVectors, "x")
    for shard, kind, encoder, message in [
        (nameless, ValueError, words, "shard 5: document 0: expected a mapping with _id"),
        (["text"], ValueError, words, "shard 5: document 0: expected a mapping with _id"),
        (DOCUMENTS, ValueError, words, "shard 5: .*expected 16 dimensions, got 32"),
        (DOCUMENTS, TypeError, dict, "shard 5: encoder: expected an object such as"),
        ([3], TypeError, None, "shard 5: item 0 of the stream: expected"),
    ]:
        worker = _Worker(tercet.MultiVectorIndex(16), encoder, None)
        with pytest.raises(kind, match=message):
            worker.sample(5, shard, 10)


def test_single_vectors_of_texts() -> None:
    found = list(pairs(DOCUMENTS, load_encoder(BagOfWords, "single")))
    assert [ids for ids, _ in found] == [[document["_id"] for document in DOCUMENTS]]
    expected = BagOfWords().encode_document([f"{d['title']} {d['text']}" for d in DOCUMENTS])
    np.testing.assert_array_equal(found[0][1], expected)


def test_a_build_goes_on(tmp_path: Path) -> None:
    """What is finished is not made again, unless it is of another build."""
    path, like = tmp_path / "x", tercet.FlatIndex(24)
    log = tmp_path / "log"

    def shard(number: int, ids: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{number} ")
        return [(ids, ROWS[: len(ids)])]

    with pytest.raises(TypeError, match=r"shard 1: ids: expected all integers or all strings"):
        build_shards(path, [partial(shard, 0, [1, 2]), partial(shard, 1, [3.5])], like, actors=1)
    with pytest.raises(ValueError, match=r"expected parts of a build with .*'shards': 1.* remove them"):
        build_shards(path, [partial(shard, 0, [1, 2])], like)
    assert not path.exists()
    build_shards(path, [partial(shard, 0, [1, 2]), partial(shard, 1, [3, 4])], like, actors=1)
    assert log.read_text() == "0 1 1 "
    assert [place.files for place in places(path, None)[0]] == [
        ["shard-00000.tercet"],
        ["shard-00001.tercet"],
    ]
    with pytest.raises(FileExistsError, match="is there"):
        build_shards(path, [list], like)


def test_ids_of_single_vectors_are_in_one_shard(tmp_path: Path) -> None:
    shards = [[([1, 2], ROWS[:2])], [([2, 3], ROWS[2:4])]]
    with pytest.raises(ValueError, match=r"ids in more than one shard: 2 \(1 in all\)"):
        build_shards(tmp_path / "x", shards, tercet.FlatIndex(24), actors=1)
    assert not (tmp_path / "x").exists()
    with pytest.raises(TypeError, match="of one kind, got int and str"):
        _check_distinct([np.array([1]), np.array(["a"], object)])


def test_bad_builds(tmp_path: Path) -> None:
    full, flat = tercet.FlatIndex(24), tercet.FlatIndex(24)
    full.add(ROWS)
    bad: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (TypeError, "like: expected an empty .* got list", ([[]], []), {}),
        (ValueError, "like: expected an empty index, got one of 300", ([[]], full), {}),
        (ValueError, "pool: expected None for a FlatIndex, got 2", ([[]], flat), {"pool": 2}),
        (ValueError, "shards: expected at least one", ([], flat), {}),
        (TypeError, "shard 1: expected what another process can read", ([[], iter([])], flat), {}),
        (TypeError, "shard 0: expected pairs .* got the path of a file", (["x.jsonl"], flat), {}),
        (ValueError, "sample: expected at least 1", ([[]], flat), {"sample": 0}),
    ]
    for kind, message, arguments, options in bad:
        with pytest.raises(kind, match=message):
            build_shards(tmp_path / "x", *arguments, **options)
    assert list(tmp_path.iterdir()) == []


def test_other_directories_say_what_opens_them(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "tercet-shards", "version": 1}')
    with pytest.raises(ValueError, match=r"tercet\.ray\.ShardedIndex\.open opens it"):
        tercet.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "tercet-retriever", "version": 1}')
    with pytest.raises(ValueError, match=r"tercet\.Retriever\.open opens it"):
        ShardedIndex.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such index directory"):
        ShardedIndex.open(tmp_path / "none")
    assert dir(tercet.ray) == sorted(tercet.ray.__all__)
