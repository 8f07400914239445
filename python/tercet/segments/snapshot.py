"""Questions to all segments of an index at once, and one answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.indexes.base import as_filters, id_array, required_ids
from tercet.indexes.multivector import MultiVectorIndex
from tercet.scoring import check_k
from tercet.segments.codebook import Codebook, empty_index, open_codebook, open_index
from tercet.segments.manifest import IdKind, Manifest, read_manifest
from tercet.segments.segment import Ids, Segment, read_removed
from tercet.types import Hits, TokenMatches, TokenVectors, check_hits, merged

__all__ = ["Snapshot", "is_mask", "kind_of", "load", "open_commit", "parts_of", "picked", "unpacked"]


class Snapshot:
    """The segments of one state of an index. No two living documents have the same id.

    Args:
        manifest: the commit, or the last before this state.
        codebook: of residual codecs, once there is one.
        segments: the older first; those without living documents are left out.
        ids: of what kind they are.
        empty: an index without documents that has the settings of all; it checks what is given.
    """

    def __init__(
        self,
        manifest: Manifest,
        codebook: Codebook | None,
        segments: Sequence[Segment],
        ids: IdKind | None,
        empty: MultiVectorIndex,
    ) -> None:
        self.manifest = manifest
        self.codebook = codebook
        self.segments = [segment for segment in segments if len(segment)]
        self.empty = empty
        self._kind = ids

    def __len__(self) -> int:
        """Return the number of documents."""
        return sum(map(len, self.segments))

    @property
    def ids(self) -> npt.NDArray[Any]:
        """All ids, segment by segment."""
        parts = [segment.ids for segment in self.segments]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        candidates: int | None = None,
        filter: Any = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> Hits:
        """Return the best ``k`` of all segments, of each of which so many ``candidates`` are compared."""
        tokens = self._tokens(queries, "queries")
        count = check_k(k)
        filters = [unpacked(given, len(self)) for given in as_filters(filter, len(tokens))]
        for given in filters:
            if given is not None and not is_mask(given):
                self.check_kind(given)
        found, first = [], 0
        for segment in self.segments or [Segment(self.empty)]:
            part = slice(first, first := first + len(segment))
            own = [segment.allowed(f[part] if is_mask(f) else f) for f in filters or [None]]
            most = max(1, min(count, len(segment)))
            found.append(
                segment.index.search(
                    tokens,
                    most,
                    candidates=candidates,
                    filter=own if filters[1:] else own[0],
                    exact=exact,
                    threads=threads,
                )
            )
        return merged(found, count)

    def rerank(self, queries: Any, candidates: Hits, k: int, threads: int | None) -> Hits:
        """Return the best ``k`` of each query's candidates."""
        tokens = self._tokens(queries, "queries")
        check_hits(candidates, tokens, "candidates")
        self._homes(candidates, "candidates")
        wanted = [[hit.id for hit in hits] for hits in candidates]
        return self.search(tokens, k, filter=wanted, exact=True, threads=threads)

    def explain(self, queries: Any, hits: Hits, threads: int | None) -> list[TokenMatches]:
        """Return for each query which tokens of its hits made their scores."""
        tokens = self._tokens(queries, "queries")
        check_hits(hits, tokens, "hits")
        homes = self._homes(hits, "hits")
        places = [[homes.get(i, -1) for i in ids] for ids in hits.ids.tolist()]
        where = np.array(places, np.int64).reshape(hits.ids.shape)
        lengths = np.diff(tokens.offsets).tolist()
        explained = [TokenMatches.best(i, [None] * len(i), n) for i, n in zip(hits.ids, lengths, strict=True)]
        for number, segment in enumerate(self.segments):
            own = Hits(np.where(where == number, hits.ids, -1), hits.scores)
            if not (own.ids != -1).any():
                continue
            parts = segment.index.explain(tokens, own, threads=threads)
            for whole, part, here in zip(explained, parts, where == number, strict=True):
                whole.document_tokens[here] = part.document_tokens[here]
                whole.scores[here] = part.scores[here]
        return explained

    def _homes(self, hits: Hits, name: str) -> dict[Any, int]:
        """Return the segment of each id; KeyError names unknown ones."""
        every = list({i for ids in hits.ids.tolist() for i in ids if i != -1})
        if not every:
            return {}
        ours = {"str" if isinstance(i, str) else "int" for i in every} == {self._kind}
        where = self.find(required_ids(every))[0].tolist() if ours else [-1] * len(every)
        missing = sorted(str(i) for i, number in zip(every, where, strict=True) if number < 0)
        if missing:
            raise KeyError(f"{name} not in this index: {', '.join(missing[:5])} ({len(missing)} in all)")
        return dict(zip(every, where, strict=True))

    def get(self, ids: Any) -> TokenVectors:
        """Return the stored token vectors of ids, in their order; KeyError names unknown ids."""
        wanted = required_ids(ids)
        where, _ = self.known(wanted)
        documents: list[Any] = [None] * len(wanted)
        for number, segment in enumerate(self.segments):
            places = np.flatnonzero(where == number)
            if len(places):
                for place, document in zip(places, segment.index.get(picked(wanted, places)), strict=True):
                    documents[place] = document
        return TokenVectors.from_list(documents) if documents else self.empty.get(wanted)

    def find(self, ids: Ids) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return for each id its segment and its slot there, -1 and -1 if it is unknown."""
        where, slots = np.full(len(ids), -1), np.full(len(ids), -1)
        for number, segment in enumerate(self.segments):
            found = segment.find(ids)
            where[found >= 0] = number
            slots[found >= 0] = found[found >= 0]
        return where, slots

    def known(self, ids: Ids) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return what :meth:`find` does; KeyError names unknown ids, ValueError those given twice."""
        self.check_kind(ids)
        where, slots = self.find(ids)
        if (where < 0).any():
            raise KeyError(f"ids not in this index: {_list_of(id_array(ids)[where < 0])}")
        twice = [i for i, times in Counter(id_array(ids).tolist()).items() if times > 1]
        if twice:
            raise ValueError(f"ids: given twice in one call: {_list_of(twice)}")
        return where, slots

    def verify(self, directory: Path) -> None:
        """Compare what is mapped with its checksums, and what is not while this is the current commit."""
        for segment in self.segments:
            segment.index.verify()
        try:
            for file in self.manifest.segments:
                if file.removed is not None:
                    read_removed(directory, file.removed, file.documents)
            if self.manifest.codebook is not None:
                open_index(directory / self.manifest.codebook.file)[0].verify()
        except FileNotFoundError:
            if read_manifest(directory) == self.manifest:
                raise
        read_manifest(directory)

    def check_kind(self, ids: Ids) -> None:
        """Raise TypeError if ids are of the other kind than those in the index."""
        if len(self) and len(ids) and kind_of(ids) != self._kind:
            raise TypeError(f"ids: this index has {self._kind} ids, got {kind_of(ids)}")

    def _tokens(self, x: Any, name: str) -> TokenVectors:
        """Return texts as MultiVectorIndex takes them, of the right dimensions, at least one."""
        return self.empty._tokens(x, name)

    def _content(self) -> Counter[Hashable]:
        """Return how many documents of each segment have changed: of files, only those that live can."""
        content: Counter[Hashable] = Counter()
        for segment in self.segments:
            ((lists, changes),) = segment.index._content().items()
            if segment.file is None:
                content["in memory", lists] = changes
            else:
                content[segment.file.file, lists] = len(segment)
        return content


def load(directory: Path, known: Sequence[Segment] = ()) -> Snapshot:
    """Open the current commit. What ``known`` has open already is not opened again.

    Raises:
        FileNotFoundError: there is no such directory, or a file that the manifest names is missing.
        ValueError: something is damaged; the message names the file.
    """
    opened = {segment.file.file: segment for segment in known if segment.file is not None}
    while True:
        manifest = read_manifest(directory)
        try:
            return open_commit(directory, manifest, opened)
        except FileNotFoundError:
            # A commit after that of the manifest has deleted it: then there is another manifest.
            if read_manifest(directory).generation != manifest.generation:
                continue
            raise


def open_commit(directory: Path, manifest: Manifest, known: Mapping[str, Segment] | None = None) -> Snapshot:
    """Open the segments that a manifest names; ``known`` has those that are open already, by file.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one is damaged, or another than the manifest means; the message names it.
    """
    opened = known or {}
    book = None if manifest.codebook is None else open_codebook(directory, manifest.codebook)
    segments = [Segment.open(directory, file, manifest, opened.get(file.file)) for file in manifest.segments]
    if book is not None:
        for segment in segments:
            book.share_with(segment.index)  # one codebook in memory
    empty = empty_index(manifest.dim, manifest.codec, manifest.seed, book)
    return Snapshot(manifest, book, segments, manifest.ids, empty)


def parts_of(path: Path) -> list[tuple[Path, Segment]]:
    """Return the files of a path, a segment or a directory of an index, opened."""
    if not path.is_dir():
        return [(path, Segment(open_index(path)[0]))]
    return [
        (path / segment.file.file, segment) for segment in load(path).segments if segment.file is not None
    ]


def kind_of(ids: Ids) -> IdKind:
    """Tell what ids are."""
    return "int" if isinstance(ids, np.ndarray) else "str"


def is_mask(filter: Any) -> bool:
    """Tell a mask from ids and None, of filters as :func:`as_filters` makes them, without bits."""
    return isinstance(filter, np.ndarray) and filter.dtype == np.bool_


def unpacked(filter: Any, size: int) -> Any:
    """Return a filter of :func:`as_filters` without bits; ValueError for a mask of another size."""
    if isinstance(filter, tuple):
        bits, count = filter
        filter = np.unpackbits(bits, count=count, bitorder="little").astype(bool)
    if is_mask(filter) and len(filter) != size:
        raise ValueError(f"filter: expected a mask of {size} (one per id in index.ids), got {len(filter)}")
    return filter


def picked(ids: Ids, places: npt.NDArray[Any]) -> Ids:
    """Return some of ids."""
    return ids[places] if isinstance(ids, np.ndarray) else [ids[place] for place in places]


def _list_of(ids: Sequence[Any] | npt.NDArray[Any]) -> str:
    """Return up to five ids, as the other indexes name them in errors."""
    more = f", ... ({len(ids)} in all)" if len(ids) > 5 else ""
    return ", ".join(str(i) for i in ids[:5]) + more
