"""Inverted lists of MultiVectorIndex: what they find, and that changes reach them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import container
import tercet
from clustered_texts import DIM, filled, queries, texts
from tercet import MultiVectorIndex, PackedMask
from tercet.indexes.storage import as_json

CODECS = ["float32", "int8", "int4", "residual2"]


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


@pytest.mark.parametrize("codec", CODECS)
def test_goes_on_until_nothing_better_comes(codec: Any) -> None:
    index, asked = filled(codec, 3000), queries(60, 3)
    default, first, second = (index.search(asked, 10, candidates=n).ids for n in (None, 160, 320))
    content = (first == second).all(axis=1)
    assert content.sum() >= 20
    assert (default[content] == second[content]).all()
    assert not content.all()
    assert recall(index, asked) > max(0.98, recall(index, asked, candidates=320))
    mask = np.random.default_rng(4).random(3000) < 0.5
    assert recall(index, asked, filter=mask) > 0.95
    many = index.search(asked, 300)  # the first are twice as many
    assert (many.ids >= 0).all()
    assert all(len(set(row)) == 300 for row in many.ids.tolist())


@pytest.mark.parametrize("part", [0.0, 0.005, 0.1, 0.5, 1.0])
def test_filters(part: float) -> None:
    index, asked = filled("int8"), queries(20, 3)
    mask = np.random.default_rng(4).random(600) < part
    for given in (mask, index.ids[mask], PackedMask.pack(mask), [mask] * 20):
        hits = index.search(asked, 10, candidates=60, filter=given)
        assert ((hits.ids >= 0).sum(axis=1) == min(10, mask.sum())).all()
        assert np.isin(hits.ids[hits.ids >= 0], index.ids[mask]).all()
    assert mask.sum() == 0 or recall(index, asked, candidates=60, filter=mask) > 0.8 * min(1, mask.sum() / 10)


@pytest.mark.parametrize("size", [600, 603, 640])
def test_bits_behind_a_mask_do_not_count(size: int) -> None:
    index, asked = filled("int8", size), queries(5, 3)
    mask = np.zeros(size, bool)
    mask[::7] = True
    bits = np.packbits(np.concatenate([mask, np.ones(-size % 8, bool)]), bitorder="little")
    for k in (5, 80, 200):
        got = index.search(asked, k, candidates=80, filter=PackedMask(bits, size))
        want = index.search(asked, k, candidates=80, filter=mask)
        assert got.ids.tolist() == want.ids.tolist()
        assert ((got.ids >= 0).sum(axis=1) == min(k, mask.sum())).all()


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
    (place, size) = next((at, n) for name, at, n in container.layout(data) if name == "list_gaps")
    data[place + size // 2 | 3] ^= 0x7F
    path.write_bytes(data)
    index = tercet.open(path)
    index.remove(index.ids[:500])
    assert len(index) == 100
    for use in (lambda: index.search(queries(1, 3), 5), lambda: index.add(texts(1, 4)), index.verify):
        with pytest.raises(ValueError, match="list_gaps"):
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


def decoded(offsets: np.ndarray, gaps: np.ndarray) -> list[list[int]]:
    """Lists as csrc/storage/FORMAT.md has them."""
    lists = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        numbers, number, shift = [], 0, 0
        for byte in gaps[begin:end].tolist():
            number += (byte & 127) << shift
            shift += 7
            if byte < 128:
                numbers.append(number + (numbers[-1] if numbers else 0))
                number = shift = 0
        assert shift == 0
        lists.append(numbers)
    return lists


@pytest.mark.parametrize("codec", ["int8", "residual2"])
def test_what_is_in_the_lists(codec: Any) -> None:
    """Each document once in the list of each centroid that is nearest to a token of it."""
    index = filled(codec, 700)
    index.remove(range(0, 300, 2))
    index.add(texts(3, 8), range(1, 7, 2))
    settings, state = container.parse(index._native.dump(as_json(index._header())))
    lists = decoded(state["list_offsets"], state["list_gaps"])
    assert settings["codec"] == codec
    assert [numbers == sorted(set(numbers)) for numbers in lists] == [True] * 32
    assert sum(map(len, lists)) < index.num_tokens
    if codec == "residual2":
        offsets = state["offsets"].tolist()
        unlisted = set(state["unlisted"].tolist())
        want: list[list[int]] = [[] for _ in range(32)]
        for text in range(len(index)):
            for centroid in set(state["centroids"][offsets[text] : offsets[text + 1]].tolist()):
                if text not in unlisted:
                    want[centroid].append(text)
        assert lists == want


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("list_offsets", np.arange(32), "list_offsets: expected 33 values, got 32"),
        ("list_offsets", np.arange(1, 34), "list_offsets: expected to rise from 0"),
        ("list_offsets", np.array([0, 5, 4] + [9] * 30), "list_offsets: expected to rise from 0"),
        ("list_offsets", np.array([0] * 32 + [2**62]), "list_gaps: expected"),
        ("list_offsets", np.array([0] * 32 + [-1]), "list_offsets: expected to rise"),
        ("list_gaps", np.zeros(3, np.uint8), "list_gaps: expected"),
        ("list_gaps", b"\xff\xff\xff\xff\xff\x01", "list 0 ends within a number"),
        ("list_gaps", b"\x80", "list 0 ends within a number"),
        ("list_gaps", b"\xff\xff\xff\xff\x7f", "list_gaps: expected texts below 50, got 34359738367"),
        ("list_gaps", b"\x01\x31", "list_gaps: expected texts below 50, got 50"),
        ("unlisted", np.array([50], np.uint32), "unlisted: text 50 of 50"),
        ("unlisted", np.array([3, 3], np.uint32), "unlisted: text 3 of 50, or twice"),
    ],
)
def test_lists_that_are_none(section: str, value: Any, message: str, tmp_path: Path) -> None:
    """Though their checksums are right."""
    index = MultiVectorIndex(DIM, codec="residual2")
    index.train(texts(300, 1), centroids=32)
    index.add([np.ones((12, DIM), np.float32)] * 50)
    settings, state = container.parse(index._native.dump(as_json(index._header())))
    if isinstance(value, bytes):
        state["list_offsets"] = np.array([0] + [len(value)] * 32)
        value = np.frombuffer(value, np.uint8)
    (tmp_path / "x").write_bytes(container.build(settings, {**state, section: value}))
    with pytest.raises(ValueError, match=f"x: damaged index: .*{message}"):
        tercet.open(tmp_path / "x", mmap=False)


def test_a_removal_from_a_damaged_file(tmp_path: Path) -> None:
    """It is done, without a look at lists that nobody has checked."""
    filled("int8").save(tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    offset = next(offset for name, offset, _ in container.layout(bytes(data)) if name == "list_gaps")
    data[offset : offset + 64] = b"\x7f" * 64
    (tmp_path / "y").write_bytes(data)
    index: Any = tercet.open(tmp_path / "y")
    index.remove(range(400))
    assert len(index) == 200
    with pytest.raises(ValueError, match="y: damaged index: the checksum of section 'list_gaps'"):
        index.search(queries(1, 0), candidates=10)
