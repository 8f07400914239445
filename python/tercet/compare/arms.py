"""What is compared: stages in a row, on indexes of the same documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from tercet.chain import Stopping, ordered
from tercet.encoders import Reranker
from tercet.indexes import FlatIndex, MultiVectorIndex
from tercet.types import Hits

__all__ = ["BEST", "Arm", "Indexes", "Query", "Ranking", "StageName", "parse_arm"]

BEST = 10  # places of a ranking that count for nDCG, and that a stage which stops early has to get right

StageName = Literal["bi", "colbert", "ce"]


class Query(NamedTuple):
    """A question as the stages take it; vectors of a stage that is not used may be None."""

    text: str
    pooled: Any  # float32[1, dim]
    tokens: Any  # TokenVectors of one text


class Indexes(NamedTuple):
    """The same documents twice, and their texts; ids are places in the collection."""

    pooled: FlatIndex
    tokens: MultiVectorIndex
    texts: Sequence[str]


class Ranking(NamedTuple):
    """Places of documents, best first, and how many texts a cross-encoder read for it."""

    places: list[int]
    read: int


class Arm(NamedTuple):
    """One way to rank.

    Attributes:
        name: as it is shown.
        stages: the first finds, each of the others orders the best of the one before it anew.
        depths: how many candidates each of the others reads.
        reranker: the cross-encoder, for a stage ``"ce"``.
        stopping: when the last stage reads no further; None for never.
    """

    name: str
    stages: tuple[StageName, ...]
    depths: tuple[int, ...] = ()
    reranker: Reranker | None = None
    stopping: Stopping | None = None

    def search(self, query: Query, on: Indexes, k: int) -> Ranking:
        """Return the ``k`` best: those that the last stage read, then the others in the order before it."""
        wanted, read = max(k, *self.depths, 1), 0
        first = (
            on.pooled.search(query.pooled, wanted)
            if self.stages[0] == "bi"
            else on.tokens.search(query.tokens, wanted)
        )
        places = [int(hit.id) for hit in first[0]]
        for stage, depth in zip(self.stages[1:], self.depths, strict=True):
            last = stage == self.stages[-1]
            kept = ordered(
                places[:depth], self._scorer(stage, query, on), BEST, self.stopping if last else None
            )
            read += len(kept) if stage == "ce" else 0
            places = list(dict.fromkeys([*(place for place, _ in kept), *places]))
        return Ranking(places[:k], read)

    def stored(self, on: Indexes) -> int:
        """Return the bytes of the vectors that it needs."""
        used = set(self.stages)
        return ("bi" in used) * on.pooled.nbytes + ("colbert" in used) * on.tokens.nbytes

    def _scorer(self, stage: StageName, query: Query, on: Indexes) -> Callable[[Sequence[int]], Any]:
        if stage == "colbert":
            return lambda places: _maxsim(on.tokens, query, places)
        if self.reranker is None:
            raise ValueError(f"{self.name}: a cross-encoder is needed, none was given")
        reranker = self.reranker
        return lambda places: reranker.score(query.text, [on.texts[place] for place in places])


def parse_arm(name: str) -> tuple[StageName, ...]:
    """Return the stages of an arm such as ``bi+colbert+ce``.

    Raises:
        ValueError: it does not begin with ``bi`` or ``colbert``, a stage comes twice, or ``ce`` is not last.
    """
    stages = tuple(name.split("+"))
    places = [("bi", "colbert", "ce").index(s) if s in ("bi", "colbert", "ce") else -1 for s in stages]
    if places[0] not in (0, 1) or places != sorted(set(places)):
        raise ValueError(
            f"arm {name!r}: expected bi or colbert, and then, joined by +, colbert or ce: for example "
            "bi, colbert, bi+colbert, bi+ce, bi+colbert+ce"
        )
    return cast(tuple[StageName, ...], stages)


def _maxsim(index: MultiVectorIndex, query: Query, places: Sequence[int]) -> list[float]:
    """Return the scores of some documents' stored vectors, in their order."""
    candidates = Hits(np.array([places]), np.zeros((1, len(places)), np.float32))
    hits = index.rerank(query.tokens, candidates, len(places))
    scores = {int(hit.id): hit.score for hit in hits[0]}
    return [scores[place] for place in places]
