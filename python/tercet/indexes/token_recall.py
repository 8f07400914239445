"""How many candidates a late-interaction search needs: of documents that lists name, against all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tercet.indexes.calibration import RecallOf, check_recall, part_of, smallest
from tercet.scoring import check_k
from tercet.types import Hits, TokenVectors

__all__ = ["Calibrated"]

SAMPLE = 128  # documents whose tokens are queries
TOKENS = 32  # of each, at most: about as many as a query has


class Searched(Protocol):
    """What is searched: an index, or a state of one that does not change meanwhile."""

    @property
    def ids(self) -> npt.NDArray[Any]: ...
    def __len__(self) -> int: ...
    def get(self, ids: Any) -> TokenVectors: ...
    def search(
        self, queries: Any, k: int = ..., *, candidates: int | None = ..., exact: bool = ...
    ) -> Hits: ...
    def _tokens(self, x: Any, name: str) -> TokenVectors: ...
    def _content(self) -> Counter[Hashable]:
        """Return parts that are searched alike, and a number for each that tells how much has changed."""


class _Kept(NamedTuple):
    candidates: int
    content: Counter[Hashable]
    queries: TokenVectors | None


class Calibrated(ABC):
    """Searches with as many candidates as a recall asks for. Not public: use the indexes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[float, int], _Kept] = {}  # by target and k

    @abstractmethod
    def _searched(self) -> AbstractContextManager[Searched]:
        """Yield what there is."""

    def calibrate(self, target_recall: float, k: int = 10, *, queries: Any = None) -> int:
        """Return the smallest number of ``candidates``, of steps of a quarter, that reaches a recall.

        More candidates look into more lists as well. Every recall is reached, at worst by comparing with all
        documents, which is what is returned then. Finding the number takes 128 exact searches, and as many
        with each number that is tried: some seconds, but minutes of a large index of random vectors, where
        hardly any number will do. It is kept until a tenth of the documents have changed, and then found
        again when a search asks for it.

        Args:
            target_recall: above 0, at most 1.
            k: of the searches to come.
            queries: a sample of those to come, as :meth:`search` takes them: some hundred will do. They
                serve later searches with this recall and ``k`` too. Without any, tokens of documents stand
                for them, as :meth:`estimate_recall` says.

        Raises:
            ValueError: ``target_recall`` outside (0, 1].
            TypeError: ``target_recall`` that is no number.
        """
        check_recall(target_recall)
        with self._searched() as now:
            given = None if queries is None else now._tokens(queries, "queries")
            return self._find(now, target_recall, check_k(k), given)

    def estimate_recall(self, candidates: int, k: int = 10, *, queries: Any = None) -> float:
        """Return the part of the best ``k`` that searches with so many candidates find.

        What the best are, comparing with all documents as they are stored says.

        Args:
            candidates: as :meth:`search` takes it.
            k: how many.
            queries: as :meth:`calibrate` takes them. Without any, up to 32 tokens of each of 128 documents
                are looked for, without that document. For these a little less is found than for queries
                about one thing; how much, a sample of yours tells.
        """
        with self._searched() as now:
            given = None if queries is None else now._tokens(queries, "queries")
            return _recall_of(now, check_k(k), given)(check_k(candidates, "candidates"))

    def _candidates(
        self, now: Searched, k: int, given: int | None, target_recall: float | None
    ) -> int | None:
        """Return how many a search uses that was given one of the two, or neither."""
        if target_recall is None:
            return given
        if given is not None:
            raise ValueError("candidates, target_recall: expected one of them, got both")
        check_recall(target_recall)
        return self._find(now, target_recall, k, None)

    def _find(self, now: Searched, target_recall: float, k: int, queries: TokenVectors | None) -> int:
        content = now._content()
        kept = self._kept.get((target_recall, k))
        if kept is not None and queries is None:
            if _difference(kept.content, content) * 10 <= len(now):
                return kept.candidates
            queries = kept.queries
        recall_of = _recall_of(now, k, queries)
        try:
            found = smallest(target_recall, k, len(now), recall_of, "candidates")
        except ValueError:  # the best are gone: others change the index meanwhile
            return len(now)
        self._kept[target_recall, k] = _Kept(found, content, queries)
        return found


def _recall_of(index: Searched, k: int, queries: TokenVectors | None) -> RecallOf:
    """Return what tells for a number of candidates which part of the best ``k`` is found among them.

    Without queries, up to 32 tokens of each of 128 documents stand for them, and a document is not looked
    for by its own tokens. That asks for more than queries do, which are about one thing: of Vaswani's, with
    MiniLM, 0.975 of the best 10 were among 128 candidates where the sample says 0.970.
    """
    own: list[Any] = []
    if queries is None:
        own, queries = _sample(index)
    held_out = 1 if own else 0
    count = min(k, len(index) - held_out)
    if count < 1 or len(queries) == 0:
        return lambda candidates: 1.0

    def ids_of(hits: Hits) -> list[list[Any]]:
        rows: list[list[Any]] = hits.ids.tolist()
        if not own:
            return rows
        return [[i for i in row if i != id][:count] for row, id in zip(rows, own, strict=True)]

    asked = queries
    best = ids_of(index.search(asked, count + held_out, exact=True))
    return lambda candidates: part_of(
        best, ids_of(index.search(asked, count + held_out, candidates=candidates + held_out))
    )


def _sample(index: Searched) -> tuple[list[Any], TokenVectors]:
    """Return ids of documents, and some tokens of each."""
    ids = index.ids
    chosen = ids[np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(int)].tolist()
    documents = [(id, tokens) for id, tokens in zip(chosen, index.get(chosen), strict=True) if len(tokens)]
    some = [
        tokens[np.linspace(0, len(tokens) - 1, min(TOKENS, len(tokens))).astype(int)]
        for _, tokens in documents
    ]
    return [id for id, _ in documents], TokenVectors.from_list(some) if some else index.get([])


def _difference(a: Counter[Hashable], b: Counter[Hashable]) -> int:
    return sum(abs(a[part] - b[part]) for part in a.keys() | b.keys())
