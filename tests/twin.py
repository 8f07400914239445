"""An index and the dictionary it must behave as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from levels import same_bits

Array = npt.NDArray[Any]


class Twin:
    """Does random things to both and compares.

    Args:
        index: an empty FlatIndex or MultiVectorIndex.
        kind: of its ids, int or str.
        document: makes one, a row or token rows.
        score: of a list of queries with a list of documents, by the reference.
        exact: whether scores must be equal to the last bit.
    """

    def __init__(
        self,
        index: Any,
        kind: type,
        rng: np.random.Generator,
        document: Callable[[], Array],
        score: Callable[[list[Array], list[Array]], Array],
        exact: bool = True,
    ) -> None:
        self.index, self.kind, self.rng = index, kind, rng
        self.document, self.score, self.exact = document, score, exact
        self.known: dict[Any, Array] = {}
        self.next = 0

    def id(self) -> Any:
        number = int(self.rng.integers(0, 60))
        return number if self.kind is int else f"é{number}"

    def some(self, most: int) -> list[Any]:
        return sorted({self.id() for _ in range(self.rng.integers(1, most))})

    def pack(self, documents: list[Array]) -> Any:
        return np.stack(documents) if documents[0].ndim == 1 else documents

    # ---- what can happen

    def add(self) -> None:
        ids = self.some(12)
        documents = [self.document() for _ in ids]
        given = np.array(ids) if self.rng.random() < 0.5 else ids
        added = self.index.add(self.pack(documents), given, threads=int(self.rng.integers(1, 4)))
        assert added.tolist() == ids
        self.known.update(zip(ids, documents, strict=True))
        if self.kind is int:
            self.next = max(self.next, *(i + 1 for i in ids))

    def number_on(self) -> None:
        documents = [self.document() for _ in range(self.rng.integers(1, 4))]
        if self.kind is int:
            ids = list(range(self.next, self.next + len(documents)))
            assert self.index.add(self.pack(documents)).tolist() == ids
            self.known.update(zip(ids, documents, strict=True))
            self.next += len(documents)
        elif self.known:
            with pytest.raises(ValueError, match=r"each .* needs one"):
                self.index.add(self.pack(documents))

    def fail_to_add(self) -> None:
        ids = self.some(5)
        documents = [self.document() for _ in ids]
        reason = self.rng.integers(0, 4)
        kind: type[Exception] = ValueError
        if reason == 0:
            documents[-1] = documents[-1] + np.float32(np.nan)
            if not documents[-1].size:
                return
        elif reason == 1:
            ids.append(ids[0])
            documents.append(documents[0])
        elif reason == 2:
            ids[-1] = -1 if self.kind is int else ""
        else:
            if not self.known:
                return
            ids, kind = [f"{i}" for i in ids] if self.kind is int else list(range(len(ids))), TypeError
        with pytest.raises(kind):
            self.index.add(self.pack(documents), ids)

    def remove(self) -> None:
        ids = [i for i in self.some(15) if i in self.known]
        self.rng.shuffle(ids)
        self.index.remove(ids)
        for i in ids:
            del self.known[i]

    def fail_to_remove(self) -> None:
        unknown = [i for i in self.some(4) if i not in self.known]
        if unknown and self.known:
            with pytest.raises(KeyError):
                self.index.remove([*list(self.known)[:3], *unknown])

    def empty(self) -> None:
        self.index.remove(self.index.ids)
        self.known.clear()

    def search(self) -> None:
        queries = [self.document() for _ in range(self.rng.integers(1, 5))]
        queries = [q if q.size else np.ones((1, q.shape[1]), np.float32) for q in queries]
        k = int(self.rng.integers(1, 80 if self.rng.random() < 0.3 else 6))
        per_query = self.rng.random() < 0.5
        filters = [self.filter() for _ in (queries if per_query else [0])]
        hits = self.index.search(
            self.pack(queries),
            k,
            filter=[given for given, _ in filters] if per_query else filters[0][0],
            threads=int(self.rng.integers(1, 4)),
        )
        assert hits.ids.shape == hits.scores.shape == (len(queries), k)
        if not self.known:
            assert list(hits) == [[]] * len(queries)
            return
        names = list(self.known)
        scores = self.score(queries, list(self.known.values()))
        for q in range(len(queries)):
            allowed = filters[q if per_query else 0][1]
            kept = [i for i, name in enumerate(names) if name in allowed]
            ids, best = reference.topk(scores[q : q + 1, kept], k, [names[i] for i in kept])
            if self.exact:
                assert hits.ids[q].tolist() == ids[0].tolist()
                assert same_bits(hits.scores[q], best[0])
            else:
                np.testing.assert_allclose(hits.scores[q], best[0], rtol=1e-4, atol=1e-4)

    def filter(self) -> tuple[Any, set[Any]]:
        """A filter, and the ids it allows."""
        ids = self.index.ids
        what = self.rng.integers(0, 4)
        if what == 0:
            return None, set(self.known)
        if what == 1:
            mask = self.rng.random(len(ids)) < 0.5
            return mask, set(ids[mask].tolist())
        allowed = self.some(20)  # unknown ones are ignored
        return (set(allowed) if what == 2 else allowed), set(allowed)

    # ---- the loop

    def check(self) -> None:
        assert len(self.index) == len(self.known)
        assert sorted(self.index.ids.tolist()) == sorted(self.known)
        one = self.id()
        assert (one in self.index) == (one in self.known)

    def run(self, steps: int) -> None:
        weights = self.actions()
        actions, total = list(weights), sum(weights.values())
        for action in self.rng.choice(len(actions), steps, p=[w / total for w in weights.values()]):
            actions[action]()
            self.check()

    def actions(self) -> dict[Callable[[], None], float]:
        """What can happen, and how often."""
        return {
            self.add: 0.2,
            self.number_on: 0.08,
            self.fail_to_add: 0.1,
            self.remove: 0.15,
            self.fail_to_remove: 0.06,
            self.empty: 0.01,
            self.search: 0.4,
        }


def rounds_differently(codec: str) -> bool:
    return codec == "bfloat16" and tercet.cpu_info()["isa"] in ("avx512_bf16", "amx")
