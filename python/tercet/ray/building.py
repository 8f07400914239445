"""Many processes make the shards of one index."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from tercet.directory import writing
from tercet.indexes import FlatIndex, HNSWIndex, MultiVectorIndex
from tercet.indexes.base import RESIDUAL, required_ids
from tercet.indexes.storage import replace_file
from tercet.ray.manifest import Manifest, VectorIndex, open_shard
from tercet.ray.streams import EncoderSource, check_shard
from tercet.ray.workers import Workers
from tercet.scoring import check_k
from tercet.segments import Codebook, SegmentedIndex, train_codebook
from tercet.segments.snapshot import kind_of
from tercet.types import TokenVectors

__all__ = ["build_shards"]

SAMPLE = 1 << 18  # tokens


def build_shards(
    path: str | os.PathLike[str],
    shards: Iterable[Any],
    like: MultiVectorIndex | VectorIndex,
    *,
    encoder: EncoderSource = None,
    pool: int | None = None,
    sample: int = SAMPLE,
    actors: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Make a directory for :class:`ShardedIndex`, a file for each shard, by actors that encode and store.

    Of token vectors it is that of a :class:`tercet.SegmentedIndex`, which opens it too. An actor loads the
    encoder once, and makes one shard after the other; what it makes of the texts does not leave its process.
    One that is lost is started again by Ray, with the shard that it was at. What is finished lies in
    ``<path>.parts`` until all are, and then appears at ``path`` in one step; a build that was interrupted,
    called again with the same arguments, goes on with the shards that are not finished.

    Args:
        path: the directory, which every machine sees under this name; it may exist if it is empty.
        shards: one item for each. A list of documents: without an encoder pairs ``(id, vectors)`` or
            ``(ids, vectors)``, as ``like.add`` takes them (many at a time are faster); with one, mappings as
            :meth:`tercet.Retriever.add` takes them, with ``_id``. Or a function without arguments that
            returns or yields such, and runs in the actor: it may read a file there. Or the path of a file
            with one JSON document per line. An ``ObjectRef`` of one of these will do. Ids are of one kind,
            int or str. Of token vectors with the same id the last are kept; of single vectors two shards must
            not have the same.
        like: an empty index with the settings of all: a :class:`tercet.MultiVectorIndex`,
            :class:`tercet.FlatIndex` or :class:`tercet.HNSWIndex`. With a residual codec its codebook is that
            of all shards, if it is trained.
        encoder: a function that returns one (a class is one), called in every actor; or the name or path of a
            model: :class:`tercet.models.ColBERT` loads it for token vectors, else
            :class:`tercet.models.BiEncoder`.
        pool: as :meth:`tercet.MultiVectorIndex.add` takes it.
        sample: how many tokens a codebook is trained on where one is needed: the first documents of every
            shard, as many of each. If they are unlike those to come, train ``like`` on others.
        actors: how many; by default as many as the cluster has processors, or what ``options`` asks for.
        options: what ``.options()`` of a Ray actor takes, ``{"num_gpus": 1}`` say. By default
            ``max_restarts`` and ``max_task_retries`` are 3, and ``num_cpus``, of which an actor uses as many
            threads, is 1.
        progress: called after each shard with how many there are and how many there will be.

    Raises:
        FileExistsError: ``path`` holds something.
        TypeError: ``like`` is no such index, a shard cannot be sent to another process, no encoder.
        ValueError: ``like`` is not empty, a document that ``like.add`` would refuse (the message names the
            shard), an id in two shards of single vectors, parts of a build with other settings.
        BlockingIOError: another process builds there.
        ray.exceptions.RayActorError: an actor was lost more often than ``options`` allow.
    """
    directory, given, size = Path(path).absolute(), list(shards), check_k(sample, "sample")
    _check(directory, given, like, encoder, pool)
    count = None if actors is None else check_k(actors, "actors")
    parts = directory.with_name(directory.name + ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    with writing(parts):
        _check_same(parts / "build.json", {**like._header(), "pool": pool, "shards": len(given)})
        files = [parts / f"shard-{number:05d}.tercet" for number in range(len(given))]
        waiting = [(i, given[i], file) for i, file in enumerate(files) if not file.exists()]
        with closing(Workers(like, encoder, pool, count, options, most=len(waiting))) as workers:
            book = _codebook(parts / "codebook.tercet", like, lambda: workers.sample(given, size))
            for done, _ in enumerate(workers.build(waiting, book), 1 + len(given) - len(waiting)):
                if progress is not None:
                    progress(done, len(given))
        made = parts / "index"
        shutil.rmtree(made, ignore_errors=True)  # of a build that was interrupted here
        _join(made, files, like, book)
        os.replace(made, directory)
    shutil.rmtree(parts)


def _check(
    directory: Path, shards: Sequence[Any], like: Any, encoder: EncoderSource, pool: int | None
) -> None:
    """Raise for arguments that make no sense, before anything is started."""
    if not isinstance(like, (MultiVectorIndex, FlatIndex, HNSWIndex)):
        wanted = "an empty MultiVectorIndex, FlatIndex or HNSWIndex"
        raise TypeError(f"like: expected {wanted}, got {type(like).__name__}")
    if len(like):
        raise ValueError(f"like: expected an empty index, got one of {len(like)} documents")
    if pool is not None and not isinstance(like, MultiVectorIndex):
        raise ValueError(f"pool: expected None for a {type(like).__name__}, got {pool}")
    if not shards:
        raise ValueError("shards: expected at least one, got none")
    for number, shard in enumerate(shards):
        check_shard(shard, encoder, f"shard {number}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} is there, and not an empty directory")


def _check_same(record: Path, settings: dict[str, Any]) -> None:
    """Note the settings of a build; ValueError if one with others was interrupted here."""
    if not record.exists():
        replace_file(record, lambda file: file.write(json.dumps(settings).encode()))
    found = json.loads(record.read_bytes())
    if found != settings:
        raise ValueError(
            f"{record.parent}: expected parts of a build with {settings}, got {found}: remove them"
        )


def _codebook(file: Path, like: Any, sample: Callable[[], TokenVectors]) -> Codebook | None:
    """Return what all shards share; that of a build that was interrupted, if there is one."""
    if like.codec not in RESIDUAL:
        return None
    if not file.exists():
        made = Codebook(like) if like.trained else None
        made = made or train_codebook(sample(), codec=like.codec, dim=like.dim, seed=like.seed)
        made.save(file)
    book = Codebook.open(file)
    if like.trained and book != Codebook(like):
        raise ValueError(f"{file.parent}: parts of a build with another codebook: remove them")
    return book


def _join(made: Path, files: Sequence[Path], like: Any, book: Codebook | None) -> None:
    """Make one directory of all shards, without reading their vectors."""
    if isinstance(like, MultiVectorIndex):
        codec: Any = like.codec
        with SegmentedIndex.create(made, like.dim, codec=codec, seed=like.seed, codebook=book) as writer:
            writer.attach(files)
        return
    made.mkdir()
    opened = [open_shard(file) for file in files]
    _check_distinct([index.ids for index, _ in opened if len(index)])
    for file in files:
        os.replace(file, made / file.name)
    Manifest(like._header(), tuple(shard for _, shard in opened)).write(made)


def _check_distinct(ids: Sequence[Any]) -> None:
    """Raise TypeError unless the ids of all shards are of one kind, ValueError for one that two have."""
    if len({kind_of(required_ids(part)) for part in ids}) > 1:
        raise TypeError("ids: expected those of all shards to be of one kind, got int and str")
    if not ids:
        return
    values, times = np.unique(np.concatenate(ids), return_counts=True)
    twice = values[times > 1].tolist()
    if twice:
        raise ValueError(
            f"ids in more than one shard: {', '.join(map(str, twice[:5]))} ({len(twice)} in all)"
        )
