"""Texts in, hits out: a model, an index and a document store behind one object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tercet.change import Index
from tercet.collection import Collection
from tercet.directory import Manifest
from tercet.documents import Document, check_id, check_ids, parse_all
from tercet.encoders import Encoder, check_encoder, describe, load_recorded, same_model
from tercet.searching import Result, Searching

__all__ = ["Document", "Result", "Retriever"]


class Retriever(Searching):
    """A directory of documents that a model has read; made by :meth:`create`, found again by :meth:`open`.

    Many processes may search one directory while one writes to it. What :meth:`add` and :meth:`remove`
    change is visible after their commit, all of it or nothing, and a process killed at any moment leaves the
    last commit. A search answers from the commit that was current at :meth:`open` or at this object's last
    change; when a document it finds has been removed or replaced since, it moves to the newest commit.

    Searches may run in several threads at once, also while one adds.
    """

    def __init__(self, collection: Collection, encoder: Encoder | None) -> None:
        self._collection = collection
        self._encoder = encoder

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        encoder: Encoder,
        kind: Literal["single", "multi"] | None = None,
        codec: str | None = None,
        overwrite: bool = False,
    ) -> Retriever:
        """Make a new, empty index directory.

        Args:
            path: the directory; it may exist when it is empty, or holds an index without documents.
            encoder: the model. Its fingerprint is recorded, and any other refused from then on.
            kind: ``"single"`` for one vector per document (cosine similarity), ``"multi"`` for token
                vectors (MaxSim); None is what the encoder makes, and ``"single"`` for one of your own.
            codec: how vectors are stored, as :class:`FlatIndex` or :class:`MultiVectorIndex` says; None is
                ``"float32"`` for single and ``"int4"`` for multi. One that needs training is trained by the
                first :meth:`add`, on its first 65,536 tokens.
            overwrite: replace the tercet index that is there. It stays until the first :meth:`add` has been
                committed.

        Raises:
            FileExistsError: an index is there and ``overwrite`` is false, or something else is.
            TypeError: ``encoder`` is no encoder.
            ValueError: an unknown kind or codec, or a kind that the encoder does not make vectors for.
            BlockingIOError: another process is writing there.
        """
        if kind not in (None, "single", "multi"):
            raise ValueError(f"kind: expected 'single' or 'multi', got {kind!r}")
        own = check_encoder(encoder, kind)
        kind = kind or ("multi" if own == "multi" else "single")
        codec = codec or ("float32" if kind == "single" else "int4")
        made = Collection.create(
            Path(path), kind, encoder.dim, codec, encoder.fingerprint(), overwrite=overwrite
        )
        return cls(made, encoder)

    @classmethod
    def open(cls, path: str | Path, encoder: Encoder | None = None) -> Retriever:
        """Open an index directory.

        Args:
            path: the directory.
            encoder: the model that made it; None loads the recorded one, when it is first needed.

        Raises:
            FileNotFoundError: there is no such directory.
            ValueError: it is no index, it is damaged, a newer tercet wrote it, or another model made it.
        """
        opened = Collection(Path(path))
        if encoder is not None:
            _check_model(opened, encoder)
        return cls(opened, encoder)

    @property
    def encoder(self) -> Encoder:
        """The model; loaded now if :meth:`open` was given none."""
        if self._encoder is None:
            loaded = load_recorded(self.manifest.encoder)
            _check_model(self._collection, loaded)
            self._encoder = loaded
        return self._encoder

    @property
    def index(self) -> Index:
        """The vectors. Their ids are internal keys, not the ids of the documents."""
        return self._collection.index

    @property
    def path(self) -> Path:
        """The directory, absolute."""
        return self._collection.path

    @property
    def manifest(self) -> Manifest:
        """What the directory records: kind, codec, fingerprint of the model, number of the commit."""
        return self._collection.manifest

    def add(
        self,
        docs: Iterable[Any],
        *,
        batch_size: int = 128,
        progress: Callable[[int], object] | None = None,
    ) -> list[int | str]:
        """Encode and store documents; one whose id exists is replaced. If anything fails, nothing changes.

        Args:
            docs: ``str``, or mappings with ``_id`` or ``id``, ``title``, and ``text`` or ``contents``; all
                other fields are metadata. Without an id, a document gets the next int. A list is checked
                before anything is encoded; of a generator, ``batch_size`` documents are held at a time.
            batch_size: documents handed to the encoder at a time.
            progress: called after each batch with the number of documents done so far.

        Returns:
            The ids, in order.

        Raises:
            TypeError: a document that is neither, or a field of the wrong type; says which.
            ValueError: a document without text or with an empty one, or an id given twice; says which.
            BlockingIOError: another process is writing.
        """
        if isinstance(docs, (str, bytes, Mapping)) or not isinstance(docs, Iterable):
            raise TypeError(f"docs: expected an iterable of documents, got one {type(docs).__name__}")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        encoder = self.encoder
        ids: dict[int | str, None] = {}
        done = 0
        with self._collection.change() as change:
            documents = parse_all(docs, self._collection.next_number(), ids)
            if isinstance(docs, (list, tuple)):  # what is wrong with the last is said before minutes of work
                documents = iter(list(documents))
            while batch := list(islice(documents, batch_size)):
                change.insert(batch, encoder.encode_document([d.content for d in batch]))
                done += len(batch)
                if progress is not None:
                    progress(done)
        return list(ids)

    def remove(self, ids: int | str | Iterable[int | str]) -> None:
        """Remove documents by id.

        Raises:
            KeyError: no such documents; names them, and removes none.
            TypeError: an id that is neither int nor str.
            ValueError: an id given twice.
            BlockingIOError: another process is writing.
        """
        wanted = check_ids(ids, "ids")
        if len(set(wanted)) != len(wanted):
            raise ValueError(f"ids given twice: {[i for n, i in enumerate(wanted) if i in wanted[:n]]}")
        with self._collection.change() as change:
            change.remove(wanted)

    def matching(self, condition: Callable[[Document], bool]) -> list[int | str]:
        """Return the ids of the documents that meet a condition: a filter for :meth:`search`.

        Every document is read from the disk for that, as a :class:`tercet.retriever.Document` with ``id``,
        ``title``, ``text`` and ``metadata``.
        """
        return self._collection.matching(condition)

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.index)

    def __contains__(self, id: object) -> bool:
        """Tell whether there is a document with an id."""
        try:
            wanted = check_id(id)
        except (TypeError, ValueError):  # what no id can be
            return False
        with suppress(KeyError):
            return bool(self._collection.find(wanted))
        return False

    def close(self) -> None:
        """Close the files; the object is of no use afterwards."""
        self._collection.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        path, m = str(self.path), self.manifest
        return f"Retriever({path!r}, {m.kind!r}, {m.encoder.get('name')!r}, documents={len(self)})"


def _check_model(collection: Collection, encoder: Encoder) -> None:
    """Refuse any model but the one that made the vectors."""
    check_encoder(encoder)
    recorded, given = collection.manifest.encoder, encoder.fingerprint()
    if not same_model(recorded, given):
        raise ValueError(f"{collection.path} was made with {describe(recorded)}, got {describe(given)}")
