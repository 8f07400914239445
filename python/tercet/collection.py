"""Vectors and documents that change together: an index directory without the model."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tercet.change import Change, Index
from tercet.directory import (
    DOCUMENTS,
    LOCK,
    MANIFEST,
    Manifest,
    index_name,
    is_ours,
    read_manifest,
    remove_documents,
    remove_stale,
    writing,
)
from tercet.documents import CHUNK, Document, DocumentStore, is_blank
from tercet.encoders import describe, same_model
from tercet.indexes import FlatIndex, MultiVectorIndex
from tercet.indexes import open as open_index

__all__ = ["Collection", "holds_documents", "remove_unused"]

_CLASSES: dict[str, Any] = {"single": FlatIndex, "multi": MultiVectorIndex}


@dataclass(frozen=True)
class _State:
    """One commit. Its index is never changed, so a search in another thread can go on with it."""

    manifest: Manifest
    index: Index


class Collection:
    """An index directory: an index whose ids are the keys of a :class:`DocumentStore`, and its commits.

    Args:
        path: the directory.
        state: the commit to start from; None reads the current one.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it is no index, it is damaged, or a newer tercet wrote it.
    """

    def __init__(self, path: Path, state: _State | None = None) -> None:
        self.path = path.absolute()  # the process may change its directory
        self._replaces = state is not None  # the directory holds another index until the first commit
        self._state = state or _current(path)
        self._lock = Lock()  # of the SQLite connection
        self._store = DocumentStore(path / DOCUMENTS)

    @classmethod
    def create(
        cls, path: Path, kind: str, dim: int, codec: str, encoder: dict[str, Any], *, overwrite: bool
    ) -> Collection:
        """Make an empty one; arguments and errors are those of :meth:`tercet.Retriever.create`."""
        index = _CLASSES[kind](dim, codec=codec)
        path = path.absolute()
        path.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(path)  # before a lock is laid among somebody's files
        with writing(path):
            # Again: what is there must not change between a look and what follows from it.
            _refuse_foreign(path)
            if (path / MANIFEST).exists():
                try:
                    generation = read_manifest(path).generation
                except ValueError as e:
                    raise FileExistsError(f"{path} holds no index to replace: {e}") from None
                if not overwrite and len(_current(path).index) > 0:
                    raise FileExistsError(
                        f"{path} holds an index already: Retriever.open opens it, overwrite=True replaces it"
                    )
                replacing = Manifest(kind, codec, encoder, index_name(generation), generation)
                return cls(path, _State(replacing, index))
            manifest = Manifest(kind, codec, encoder, index_name(1), 1)
            remove_documents(path)
            DocumentStore(path / DOCUMENTS, create=True).close()
            index.save(path / manifest.index)
            manifest.write(path)
        return cls(path)

    @property
    def manifest(self) -> Manifest:
        """What the directory says of the commit that this object sees."""
        return self._state.manifest

    @property
    def index(self) -> Index:
        """The vectors of that commit, under the keys of the document store."""
        return self._state.index

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Lend a :class:`Change`; commit it at the end of the block, forget it if the block raises.

        Raises:
            BlockingIOError: another writer is at work.
            ValueError: another model has taken over the directory since it was opened.
        """
        with writing(self.path):
            before = read_manifest(self.path)
            if self._replaces:
                index = _CLASSES[self.manifest.kind](self.index.dim, codec=self.manifest.codec)
            else:
                index = self._newest().index
                with self._lock:
                    if len(self._store) != len(index):  # a writer was killed: its rows, or those it replaced
                        self._store.keep_only(set(index.ids.tolist()))
            change = Change(index, self._store, self._lock)
            try:
                yield change
                change.finish()
                if change.inserted or change.removed:
                    self._commit(change, before.generation + 1)
            except BaseException:
                with suppress(sqlite3.Error, OSError, ValueError):  # then the next writer does it
                    if read_manifest(self.path).generation == before.generation:
                        with self._lock:
                            self._store.delete(change.inserted)
                raise

    def search(
        self, vectors: Any, k: int, ids: Sequence[int | str] | None = None
    ) -> list[list[tuple[Document, float]]]:
        """Return for each query the ``k`` best documents, of these ids or of all, with scores, best first."""
        while True:
            state = self._state
            allowed = None
            if ids is not None:
                with self._lock:
                    rows = self._store.keys(ids)
                allowed = [key for key, _ in rows if key in state.index]
                if len(allowed) < len({id for _, id in rows}) and self._is_behind(state):
                    self._catch_up(state)
                    continue
            hits = list(state.index.search(vectors, max(1, min(k, len(state.index))), filter=allowed))
            keys = {int(hit.id) for row in hits for hit in row}
            with self._lock:
                documents = self._store.get(list(keys))
            if len(documents) == len(keys):
                return [[(documents[int(hit.id)], hit.score) for hit in row] for row in hits]
            self._catch_up(state)

    def find(self, id: int | str) -> tuple[Document, int, Index]:
        """Return a document, its key, and the index that has its vectors under that key.

        Raises:
            KeyError: no such document.
        """
        while True:
            state = self._state
            with self._lock:
                keys = [key for key, _ in self._store.keys([id]) if key in state.index]
                documents = self._store.get(keys)
            if keys and documents:
                return documents[keys[0]], keys[0], state.index
            if not self._is_behind(state):
                raise KeyError(f"no document with id {id!r}")
            self._catch_up(state)

    def matching(self, condition: Callable[[Document], bool]) -> list[int | str]:
        """Return the ids of the documents that meet a condition."""
        while True:
            state = self._state
            keys, read, ids = state.index.ids.tolist(), 0, []
            for start in range(0, len(keys), CHUNK):
                with self._lock:
                    documents = self._store.get(keys[start : start + CHUNK]).values()
                read += len(documents)
                ids += [document.id for document in documents if condition(document)]
            if read == len(keys):
                return ids
            self._catch_up(state)

    def next_number(self) -> int:
        """Return the id that a document without one gets next."""
        with self._lock:
            return 0 if self._replaces else self._store.next_number()

    def close(self) -> None:
        """Close the document store."""
        with self._lock:
            self._store.close()

    def _commit(self, change: Change, generation: int) -> None:
        old = self.manifest
        manifest = Manifest(old.kind, old.codec, old.encoder, index_name(generation), generation)
        change.index.save(self.path / manifest.index)
        manifest.write(self.path)
        self._state = _State(manifest, change.index)
        # From here on the commit stands; what follows is tidying
        remove_stale(self.path, manifest.index)
        with self._lock:
            if self._replaces:
                self._store.keep_only(set(change.index.ids.tolist()))
            else:
                self._store.delete(change.removed)
        self._replaces = False

    def _is_behind(self, seen: _State) -> bool:
        """Tell whether there is a newer commit: a document with a row but no vectors may be of that."""
        return not self._replaces and self._newest().manifest.generation != seen.manifest.generation

    def _catch_up(self, seen: _State) -> None:
        """Move on from a commit some of whose documents are gone."""
        if self._state is not seen:
            return  # another thread did
        newest = self._newest()
        if newest.manifest.generation == seen.manifest.generation:
            raise ValueError(f"{self.path / DOCUMENTS}: damaged, documents of the index are missing")
        self._state = newest

    def _newest(self) -> _State:
        """Read the current commit, which must be of the same model."""
        newest = _current(self.path)
        mine = self.manifest
        if newest.manifest.kind != mine.kind or not same_model(newest.manifest.encoder, mine.encoder):
            raise ValueError(
                f"{self.path} was opened with {describe(mine.encoder)}, and since replaced by an index of "
                f"{describe(newest.manifest.encoder)}"
            )
        return newest


def _refuse_foreign(path: Path) -> None:
    """Raise FileExistsError if a directory without a manifest holds what tercet did not write."""
    if (path / MANIFEST).exists():
        return
    foreign = sorted(entry.name for entry in path.iterdir() if not is_ours(entry.name))
    if foreign or not is_blank(path / DOCUMENTS):
        named = ", ".join(foreign[:3]) or DOCUMENTS
        raise FileExistsError(f"{path} is not empty and holds no index to replace: {named}")


def holds_documents(path: Path) -> bool:
    """Tell whether a directory holds an index that is not empty."""
    try:
        return len(_current(path).index) > 0
    except (FileNotFoundError, ValueError):
        return False


def remove_unused(path: Path, *, directory: bool) -> None:
    """Delete the files of an index without documents, unless another process writes there.

    Args:
        path: the directory of an index.
        directory: delete it too, if nothing else is in it.
    """
    with suppress(OSError):
        with writing(path):
            if holds_documents(path):
                return
            for entry in path.iterdir():
                if entry.name != LOCK and (entry.name == MANIFEST or is_ours(entry.name)):
                    entry.unlink()
        (path / LOCK).unlink()  # Windows deletes no open file
        if directory:
            path.rmdir()


def _current(path: Path) -> _State:
    """Read the current commit."""
    while True:
        manifest = read_manifest(path)
        try:
            index = open_index(path / manifest.index)
        except FileNotFoundError:
            if read_manifest(path) != manifest:
                continue  # a writer committed in between and removed the file
            raise ValueError(f"{path}: damaged, {manifest.index} is missing") from None
        if not isinstance(index, _CLASSES[manifest.kind]):
            raise ValueError(f"{path}: damaged, {manifest.index} holds a {type(index).__name__}")
        return _State(manifest, index)
