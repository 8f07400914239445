"""The actors that make shards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from tercet.encoders import Encoder
from tercet.indexes import MultiVectorIndex
from tercet.integrations.extras import needs
from tercet.pooling import pool_tokens
from tercet.ray.manifest import VectorIndex
from tercet.ray.streams import EncoderSource, load_encoder, pairs
from tercet.segments import Codebook, build_segment
from tercet.segments.stream import of_pairs
from tercet.types import TokenVectors

with needs("ray"):
    import ray
    from ray.exceptions import RayTaskError
    from ray.util import ActorPool

__all__ = ["Workers", "threads_of_actor"]

OPTIONS = {"max_restarts": 3, "max_task_retries": 3, "num_cpus": 1}


class Workers:
    """A pool of actors, each with an encoder, until :meth:`close`.

    Args:
        like, encoder, pool, actors, options: as :func:`build_shards` takes them.
        most: so many actors have something to do.
    """

    def __init__(
        self,
        like: MultiVectorIndex | VectorIndex,
        encoder: EncoderSource,
        pool: int | None,
        actors: int | None,
        options: Mapping[str, Any] | None,
        most: int,
    ) -> None:
        chosen = {**OPTIONS, **(options or {})}
        count = min(most, _room(chosen) if actors is None else actors)
        kind = ray.remote(_Worker).options(**chosen)
        self._actors = [kind.remote(like, encoder, pool) for _ in range(count)]

    def sample(self, shards: Sequence[Any], tokens: int) -> TokenVectors:
        """Return the first documents of every shard, of about so many tokens in all."""
        each = math.ceil(tokens / len(shards))
        found = dict(self._all("sample", [(number, shard, each) for number, shard in enumerate(shards)]))
        documents = [document for number in sorted(found) for document in found[number]]
        if not documents:
            raise ValueError("shards: expected documents to train a codebook on, got none")
        return TokenVectors.from_list(documents)

    def build(self, tasks: Sequence[tuple[int, Any, Path]], codebook: Codebook | None) -> Iterator[None]:
        """Make the file of each shard that is given with its number; yield after each."""
        shared = ray.put(codebook)
        yield from self._all("build", [(*task, shared) for task in tasks])

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor)

    def _all(self, verb: str, tasks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield answers as they come; whoever is done gets the next task."""
        pool = ActorPool(self._actors)
        try:
            yield from pool.map_unordered(lambda actor, task: getattr(actor, verb).remote(*task), tasks)
        except RayTaskError as e:
            raise e.cause from e


class _Worker:
    """A process that has an encoder. Loads it when it is first needed: what is wrong is an answer."""

    def __init__(self, like: MultiVectorIndex | VectorIndex, source: EncoderSource, pool: int | None) -> None:
        self._like, self._source, self._pool = like, source, pool

    @cached_property
    def _encoder(self) -> Encoder | None:
        return load_encoder(self._source, "multi" if isinstance(self._like, MultiVectorIndex) else "single")

    def sample(self, number: int, shard: Any, tokens: int) -> tuple[int, list[Any]]:
        """Return the first documents of a shard, pooled as they will be, of at least so many tokens."""
        documents: list[Any] = []
        with _naming(number):
            for batch, _ in of_pairs(pairs(shard, self._encoder), self._like.dim):
                documents += batch if self._pool is None else pool_tokens(batch, factor=self._pool)
                if sum(map(len, documents)) >= tokens:
                    break
        return number, documents

    def build(self, number: int, shard: Any, file: Path, codebook: Codebook | None) -> None:
        """Make the file of a shard."""
        like, threads = self._like, threads_of_actor()
        with _naming(number):
            stream = pairs(shard, self._encoder)
            if isinstance(like, MultiVectorIndex):
                build_segment(
                    file,
                    stream,
                    dim=like.dim,
                    codec=like.codec,  # type: ignore[arg-type]
                    seed=like.seed,
                    codebook=codebook,
                    pool=self._pool,
                    threads=threads,
                )
                return
            index = copy(like)
            for ids, vectors in stream:
                index.add(vectors, ids, threads=threads)
            index.save(file)


def threads_of_actor() -> int | None:
    """Return as many threads as this actor has been promised processors; None, for all, without a promise."""
    return int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0)) or None


def _room(options: Mapping[str, Any]) -> int:
    """Return how many actors with these options the cluster has room for, at least 1."""
    if not ray.is_initialized():
        ray.init()
    has = ray.cluster_resources()
    wanted = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus"), **options.get("resources", {})}
    return max(1, min((int(has.get(what, 0) / much) for what, much in wanted.items() if much), default=1))


@contextmanager
def _naming(number: int) -> Iterator[None]:
    """Let errors say of which shard they are."""
    try:
        yield
    except (TypeError, ValueError) as e:
        if type(e) not in (TypeError, ValueError):  # others take other arguments
            raise
        raise type(e)(f"shard {number}: {e}") from e
