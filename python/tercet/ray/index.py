"""Search in many processes, on one machine or more: an actor for each shard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.indexes import MultiVectorIndex
from tercet.indexes.base import as_filters
from tercet.integrations.extras import needs
from tercet.ray.manifest import VectorIndex
from tercet.ray.shards import Place, SomeFiles, SomeSegments, places, split
from tercet.ray.workers import threads_of_actor
from tercet.scoring import check_k
from tercet.types import Hits, merged

with needs("ray"):
    import ray
    from ray.exceptions import RayError, RayTaskError

__all__ = ["MissingShardsError", "ShardHits", "ShardedIndex"]

TIMEOUT = 300.0
# A task whose actor is lost while it runs is asked again of the new one
OPTIONS = {"max_restarts": 3, "max_task_retries": 3, "scheduling_strategy": "SPREAD"}


class MissingShardsError(RuntimeError):
    """Shards have not answered; :attr:`missing` names their files, the message says why too."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(reasons)  # these alone, so that it can be pickled

    @property
    def missing(self) -> tuple[str, ...]:
        """The files that the answer would lack."""
        return tuple(self.args[0])

    def __str__(self) -> str:
        named = "; ".join(f"{file}: {why}" for file, why in self.args[0].items())
        return f"shards without an answer: {named}"


class ShardHits(Hits):
    """Hits of a :class:`ShardedIndex`.

    Attributes:
        missing: files that were not searched. Empty but with ``partial=True``.
    """

    __slots__ = ("missing",)

    def __init__(self, hits: Hits, missing: Sequence[str] = ()) -> None:
        super().__init__(hits.ids, hits.scores)
        self.missing = tuple(missing)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardHits, (Hits(self.ids, self.scores), self.missing)


class ShardedIndex:
    """An index whose shards are searched by Ray actors, on one machine or many.

    What it opens is a directory: of a :class:`tercet.SegmentedIndex`, whose segments are the shards, or of
    the shards of a :class:`tercet.FlatIndex` or :class:`tercet.HNSWIndex`; :func:`build_shards` makes both.
    Every machine must see it under the same path. An actor maps its files; its processes share what the
    machine has in memory of them.

    Answers are merged in the one order of tercet, score descending, then id ascending. With ``exact=True``
    they are, to the last bit, those of one index on one machine with the same documents (and codebook);
    otherwise every shard looks for the best ``k`` of its own, which finds no less than searching one index
    with the same settings, as a rule, and takes more work.

    A process that is lost is started again by Ray, here or on another machine, and asked again, while the
    search waits. A shard that does not come back is never passed over silently: :meth:`search`.

    The object shows the commit that was current when it was opened. It can be pickled to tasks and actors of
    the same Ray cluster, which then ask the same actors. As a context manager it ends the actors.
    """

    def __init__(
        self, path: Path, found: Sequence[Place], actors: Sequence[Any], empty: Any, timeout: float
    ) -> None:
        """Use :meth:`open`."""
        self._path = path
        self._places = found
        self._actors = actors
        self._empty: MultiVectorIndex | VectorIndex = empty
        self._timeout = timeout
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        actors: int | None = None,
        options: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT,
    ) -> ShardedIndex:
        """Start the actors, and wait until each has opened its files.

        Args:
            path: the directory.
            actors: how many, at most; each takes a run of files with about as many documents. By default one
                for each file.
            options: what ``.options()`` of a Ray actor takes. By default ``max_restarts`` and
                ``max_task_retries`` are 3 (in all; -1 is without a limit, for a service) and
                ``scheduling_strategy`` is ``"SPREAD"``. With ``num_cpus``, an actor has as many to itself,
                and its searches use as many threads; without, all that the machine has.
            timeout: seconds to wait for the actors, now and in every search.

        Raises:
            FileNotFoundError: there is no such directory, or a file that it names is missing.
            ValueError: a file is damaged, or another than the manifest names; the message names it.
            MissingShardsError: an actor has not started within ``timeout``: the cluster may have no room.
        """
        if actors is not None:
            actors = check_k(actors, "actors")
        directory = Path(path).absolute()
        found, empty = places(directory, actors)
        kind = ray.remote(_Actor).options(**{**OPTIONS, **(options or {})})
        made = cls(directory, found, [kind.remote(place) for place in found], empty, timeout)
        try:
            made._ask("__len__")
        except BaseException:
            made.close()
            raise
        return made

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Any = None,
        exact: bool = False,
        partial: bool = False,
        timeout: float | None = None,
        **settings: Any,
    ) -> ShardHits:
        """Return the best ``k`` of every query, of all shards.

        Args:
            queries: as the index of the shards takes them: vectors ``[nq, dim]``, or token vectors.
            k: how many; more than there are leaves places unfilled.
            filter: which ids may be returned: ids (unknown ones are ignored), a bool mask over ``index.ids``
                or a :class:`~tercet.PackedMask` of it, or a list with one of these (or None) for each query.
            exact: compare with every document. Of single vectors, as their index says it.
            partial: return what the others found when shards are missing; ``hits.missing`` names these.
            timeout: seconds to wait for the answer, by default those of :meth:`open`.
            **settings: what else the index takes, for each shard: ``candidates`` or ``target_recall`` of
                token vectors, ``ef`` or ``target_recall`` of HNSWIndex, ``threads``. With ``target_recall``
                every shard finds that part of its own best ``k``.

        Raises:
            MissingShardsError: shards have not answered in time, or their actors cannot be started again.
            ValueError, TypeError: as the index; and ValueError, naming the file, for one that is damaged.
        """
        self._check_open()
        given = self._checked(queries)
        count = check_k(k)
        blank = self._empty.search(given, count, exact=exact, **settings)  # checks what is given, here
        filters = split(as_filters(filter, len(given)), [place.documents for place in self._places])
        sent = {id(own): ray.put(own) for own in filters if own is not None}  # once where they are the same
        asked = ray.put(given)
        answers = [
            actor.search.remote(asked, min(count, place.documents), sent.get(id(own)), exact, settings)
            for actor, place, own in zip(self._actors, self._places, filters, strict=True)
        ]
        found, missing = self._answers(answers, self._timeout if timeout is None else timeout)
        if missing and not partial:
            raise MissingShardsError(missing)
        return ShardHits(merged([blank, *found], count), list(missing))

    @cached_property
    def ids(self) -> npt.NDArray[Any]:
        """All ids, ``int64[n]`` or an object array of str, shard by shard: the order of a filter mask."""
        parts = self._ask("ids")
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def __len__(self) -> int:
        """Return the number of documents."""
        return sum(place.documents for place in self._places)

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self._empty.dim

    @property
    def codec(self) -> str:
        """How vectors are stored."""
        return self._empty.codec

    def stats(self) -> dict[str, Any]:
        """Return the settings, ``size``, ``nbytes`` of all shards, and of each the same and its ``files``."""
        each = [
            {"files": place.files, "size": place.documents, "nbytes": stats["nbytes"]}
            for place, stats in zip(self._places, self._ask("stats"), strict=True)
        ]
        total = {"size": len(self), "nbytes": sum(shard["nbytes"] for shard in each)}
        return {**self._empty._header(), "kind": "ShardedIndex", **total, "per_shard": each}

    def verify(self) -> None:
        """Compare all files with their checksums; ValueError names one that is damaged."""
        self._ask("verify")

    def close(self) -> None:
        """End the actors; the object is of no use afterwards, wherever it was pickled to."""
        self._closed = True
        if ray.is_initialized():
            for actor in self._actors:
                ray.kill(actor)

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = type(self._empty).__name__
        return f"ShardedIndex({str(self._path)!r}, {kind}, shards={len(self._places)}, size={len(self)})"

    def _checked(self, queries: Any) -> Any:
        """Return queries as arrays of the right dimensions, at least one."""
        if isinstance(self._empty, MultiVectorIndex):
            return self._empty._tokens(queries, "queries")
        return np.ascontiguousarray(self._empty._rows(queries, "queries"))

    def _ask(self, what: str) -> list[Any]:
        """Return what every actor says; MissingShardsError if one says nothing."""
        self._check_open()
        answers, missing = self._answers([a.ask.remote(what) for a in self._actors], self._timeout)
        if missing:
            raise MissingShardsError(missing)
        return answers

    def _answers(self, asked: list[Any], timeout: float) -> tuple[list[Any], dict[str, str]]:
        """Return the answers that came in time, and for each file without one why there is none."""
        answers: list[Any] = []
        missing: dict[str, str] = {}
        done = set(ray.wait(asked, num_returns=len(asked), timeout=timeout)[0]) if asked else set()
        for place, ref in zip(self._places, asked, strict=True):
            if ref not in done:
                ray.cancel(ref)  # if it has not begun; nobody waits for it
                missing.update(dict.fromkeys(place.files, f"no answer within {timeout:g} s"))
                continue
            try:
                answers.append(ray.get(ref))
            except RayTaskError as e:
                raise e.cause from e
            except RayError as e:  # it was lost, and more often than Ray was told to start it again
                missing.update(dict.fromkeys(place.files, f"its process is lost: {type(e).__name__}"))
        return answers, missing

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self._path}: this index is closed")


class _Actor:
    """A process that has some files open. Opens them when it is first asked: what is wrong is an answer."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @cached_property
    def _index(self) -> SomeSegments | SomeFiles:
        return self._place.open()

    def search(self, queries: Any, k: int, filter: Any, exact: bool, settings: dict[str, Any]) -> Hits:
        """Return the best ``k`` of these files."""
        given = {"threads": threads_of_actor(), **settings}
        return self._index.search(queries, k, filter=filter, exact=exact, **given)

    def ask(self, what: str) -> Any:
        """Return an attribute, or what a method without arguments returns."""
        found = getattr(self._index, what)
        return found() if callable(found) else found
