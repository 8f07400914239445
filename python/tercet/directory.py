"""The files of an index directory: what is current, who may write, and how a change becomes visible.

::

    manifest.json            which index file is current, and the model that made it; replaced in one step
    index-<generation>.tercet    the vectors, written by ``index.save``, never changed afterwards
    documents.sqlite         texts and metadata
    writer.lock              held while something is written

A commit writes texts, then the new index file, then the manifest. Whatever a crash leaves half done is not
named by the manifest, so nobody reads it, and the next writer removes it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tercet.indexes.storage import is_temporary, replace_file

__all__ = [
    "DOCUMENTS",
    "LOCK",
    "MANIFEST",
    "Manifest",
    "index_name",
    "is_ours",
    "is_temporary",
    "read_manifest",
    "read_record",
    "remove_documents",
    "remove_stale",
    "writing",
]

FORMAT = "tercet-retriever"
VERSION = 1
MANIFEST, DOCUMENTS, LOCK = "manifest.json", "documents.sqlite", "writer.lock"

# SQLite's own files beside a database
_DATABASE = (DOCUMENTS, *(DOCUMENTS + suffix for suffix in ("-journal", "-wal", "-shm")))
# Formats of directories, and what opens them
_OPENS = {
    FORMAT: "tercet.Retriever.open",
    "tercet-segments": "tercet.open",
    "tercet-shards": "tercet.ray.ShardedIndex.open",
}

_INDEX_NAME = re.compile(r"index-(\d+)\.tercet")


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says beside format and version.

    Attributes:
        kind: ``"single"`` or ``"multi"``, vectors per document.
        codec: how the index stores them.
        encoder: the fingerprint of the model that made them.
        index: name of the current index file.
        generation: number of the commit, rising.
    """

    kind: str
    codec: str
    encoder: dict[str, Any]
    index: str
    generation: int

    def write(self, directory: Path) -> None:
        """Make this the current state, in one step that survives a crash of the machine."""
        content = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2) + "\n"
        replace_file(directory / MANIFEST, lambda file: file.write(content.encode()))


def read_manifest(directory: Path) -> Manifest:
    """Return the current state.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it is a file or no index, its manifest is damaged, or a newer tercet wrote it.
    """
    path = directory / MANIFEST
    record, _ = read_record(directory, FORMAT, VERSION)
    try:
        fields = {name: record[name] for name in ("kind", "codec", "encoder", "index", "generation")}
    except KeyError as e:
        raise ValueError(f"{path}: damaged, {e} is missing") from None
    well_typed = (
        fields["kind"] in ("single", "multi")
        and isinstance(fields["codec"], str)
        and isinstance(fields["encoder"], dict)
        and type(fields["generation"]) is int
        and isinstance(fields["index"], str)
        and _INDEX_NAME.fullmatch(fields["index"])  # a path elsewhere must not be followed
    )
    if not well_typed:
        raise ValueError(f"{path}: damaged, it holds {fields}")
    return Manifest(**fields)


def read_record(directory: Path, format: str, version: int) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object of a directory's manifest, and the bytes that it was read from.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it is a file, or its manifest is missing, no JSON object, or of another format or version.
    """
    path = directory / MANIFEST
    if directory.is_file():
        raise ValueError(f"{directory}: not an index directory but a file (tercet.open opens one)")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if not directory.exists():
            raise FileNotFoundError(errno.ENOENT, "no such index directory", str(directory)) from None
        raise ValueError(f"{directory}: not a tercet index directory (it has no {MANIFEST})") from None
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{path}: damaged, or not of tercet: {e}") from None
    found = record.get("format") if isinstance(record, dict) else type(record).__name__
    if not isinstance(record, dict) or found != format:
        advice = f"; {_OPENS[found]} opens it" if isinstance(found, str) and found in _OPENS else ""
        raise ValueError(
            f"{directory}: not a tercet index ({MANIFEST}: expected format {format!r}, got {found!r}{advice})"
        )
    got = record.get("version")
    if type(got) is not int or got != version:
        advice = "; a newer tercet wrote it" if isinstance(got, int) and got > version else ""
        raise ValueError(f"{directory}: expected format version {version}, got {got!r}{advice}")
    return record, content


def index_name(generation: int) -> str:
    """Return the name of an index file."""
    return f"index-{generation:06d}.tercet"


def is_ours(name: str) -> bool:
    """Tell whether a directory entry is one that tercet wrote, the manifest aside."""
    return name in (LOCK, *_DATABASE) or _INDEX_NAME.fullmatch(name) is not None or is_temporary(name)


def remove_stale(directory: Path, current: str) -> None:
    """Delete all index files but the current one, and what killed writers left half written."""
    for entry in directory.iterdir():
        stale = _INDEX_NAME.fullmatch(entry.name) is not None and entry.name != current
        if stale or is_temporary(entry.name):
            with suppress(OSError):  # Windows keeps a file that a reader has mapped; a later commit gets it
                entry.unlink()


def remove_documents(directory: Path) -> None:
    """Delete the document store of a create that was killed."""
    for name in _DATABASE:
        (directory / name).unlink(missing_ok=True)


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Hold the directory's write lock; the system releases it when the process dies.

    Who holds it writes its name into the file, for the error of the others.

    Raises:
        BlockingIOError: another writer holds it; the message says which process.
    """
    with open(directory / LOCK, "a+b") as file:
        try:
            _acquire(file.fileno())
        except OSError as e:
            if e.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip()
            message = f"another writer is at work here ({holder or 'it has not said who it is'})"
            raise BlockingIOError(errno.EAGAIN, message, str(directory)) from None
        owner = os.getpid()
        try:
            _sign(file, f"process {owner} on {platform.node()}\n")
            yield
        finally:
            if os.getpid() == owner:  # and not a process that was forked from it, whose lock it is too
                _sign(file, "")
                _release(file.fileno())


def _sign(file: BinaryIO, name: str) -> None:
    file.truncate(0)  # and what is written to a file open for appending goes to its end
    file.write(name.encode())
    file.flush()


if sys.platform == "win32":
    import msvcrt

    _PLACE = 1 << 20  # locked bytes cannot be read, and the holder's name is to be

    def _acquire(file: int) -> None:
        os.lseek(file, _PLACE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _release(file: int) -> None:
        os.lseek(file, _PLACE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _acquire(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
