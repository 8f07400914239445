"""What a commit of a segmented index says, and the names of the files in its directory.

The format is specified in csrc/storage/FORMAT.md. A manifest is read only as the bytes that the writer would
make of it, so a changed byte is an error whatever it meant.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tercet import _core
from tercet.arrays import MAX_DIM
from tercet.directory import LOCK, MANIFEST, is_temporary, read_record
from tercet.indexes.base import CODECS, RESIDUAL, check_settings
from tercet.indexes.storage import replace_file

__all__ = [
    "File",
    "IdKind",
    "Manifest",
    "Removed",
    "new_name",
    "read_manifest",
    "refuse_foreign",
    "remove_stale",
]

FORMAT = "tercet-segments"
VERSION = 1

IdKind: TypeAlias = Literal["int", "str"]
_NAME = re.compile(r"(segment|codebook)-[0-9a-f]{16}\.tercet|removed-[0-9a-f]{16}\.bits")
_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Removed:
    """The tombstones of a segment: which file has them, how many they are, and its checksum (CRC-32C)."""

    file: str
    documents: int
    crc32c: int


@dataclass(frozen=True)
class File:
    """A segment or the codebook.

    Attributes:
        file: its name in the directory.
        generation: what its header says, in hexadecimal; no other save of an index has the same.
        documents: how many are in it, removed ones included.
        removed: those of them that are.
    """

    file: str
    generation: str
    documents: int = 0
    removed: Removed | None = None


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says beside format, version and checksum.

    Attributes:
        generation: number of the commit, rising from 1.
        dim, codec, seed: of every segment.
        ids: what they are, None while there were none.
        next_id: what ids given by number go on from.
        codebook: what the residuals of all segments are of, once it is trained.
        segments: the older first.
    """

    generation: int
    dim: int
    codec: str
    seed: int
    ids: IdKind | None = None
    next_id: int = 0
    codebook: File | None = None
    segments: tuple[File, ...] = ()

    def encode(self) -> bytes:
        """Return the content of the file."""
        record = {"format": FORMAT, "version": VERSION, **asdict(self)}
        record["crc32c"] = _core.crc32c(json.dumps(record, sort_keys=True).encode())
        return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()

    def write(self, directory: Path) -> None:
        """Make this the current commit, in one step that survives a crash of the machine."""
        replace_file(directory / MANIFEST, lambda file: file.write(self.encode()))

    def files(self) -> set[str]:
        """Return the names of all files of the commit."""
        files = {segment.file for segment in self.segments}
        files |= {segment.removed.file for segment in self.segments if segment.removed is not None}
        return files if self.codebook is None else files | {self.codebook.file}


def read_manifest(directory: Path) -> Manifest:
    """Return the current commit.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it holds no segmented index, its manifest is damaged, or a newer tercet wrote it.
    """
    record, content = read_record(directory, FORMAT, VERSION)
    try:
        manifest = _decode(record)
        intact = manifest.encode() == content
    except (KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        raise ValueError(f"{directory / MANIFEST}: damaged")
    return manifest


def _decode(record: dict[str, Any]) -> Manifest:
    """Make a manifest of what a file says; raises whatever for what no writer writes."""
    segments = tuple(
        File(**{**entry, "removed": entry["removed"] and Removed(**entry["removed"])})
        for entry in record["segments"]
    )
    names = ("generation", "dim", "codec", "seed", "ids", "next_id")
    codebook = record["codebook"] and File(**record["codebook"])
    manifest = Manifest(**{name: record[name] for name in names}, codebook=codebook, segments=segments)
    check_settings(manifest.dim, manifest.codec, manifest.seed, MAX_DIM, (*CODECS, *RESIDUAL))
    # A path elsewhere must not be followed, whoever made the checksum.
    if not all(_NAME.fullmatch(name) for name in manifest.files()):
        raise ValueError
    if not all(_HEX.fullmatch(f.generation) for f in (*segments, *([codebook] if codebook else []))):
        raise ValueError
    return manifest


def new_name(kind: Literal["segment", "codebook", "removed"]) -> str:
    """Return a name that no file has or had: readers of an older commit cannot take one for the other."""
    return f"{kind}-{secrets.token_hex(8)}.{'bits' if kind == 'removed' else 'tercet'}"


def remove_stale(directory: Path, current: set[str]) -> None:
    """Delete all files of ours but the current, and what killed writers left half written.

    Readers that have them mapped keep them, where a name can be taken from an open file. Elsewhere (Windows)
    they stay, and a later commit gets them.
    """
    for entry in directory.iterdir():
        if (_NAME.fullmatch(entry.name) and entry.name not in current) or is_temporary(entry.name):
            with suppress(OSError):
                entry.unlink()


def refuse_foreign(directory: Path) -> None:
    """Raise FileExistsError unless a directory is empty, but for what a killed ``create`` left."""
    for entry in directory.iterdir():
        if entry.name == MANIFEST:
            raise FileExistsError(f"{directory} holds an index already: SegmentedIndex.open opens it")
        if not (entry.name == LOCK or _NAME.fullmatch(entry.name) or is_temporary(entry.name)):
            raise FileExistsError(f"{directory} is not empty: it holds {entry.name}")
