"""What the directory of a sharded index of single vectors says (csrc/storage/FORMAT.md)."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tercet import _core
from tercet.directory import MANIFEST, read_record
from tercet.indexes import FlatIndex, HNSWIndex, storage

__all__ = ["FORMAT", "Manifest", "ShardFile", "VectorIndex", "empty_like", "open_shard", "read_manifest"]

FORMAT = "tercet-shards"
VERSION = 1

VectorIndex = FlatIndex | HNSWIndex
_NAME = re.compile(r"shard-\d{5,}\.tercet")
_HEX = re.compile(r"[0-9a-f]{32}")
_KINDS: dict[Any, type[VectorIndex]] = {"FlatIndex": FlatIndex, "HNSWIndex": HNSWIndex}


@dataclass(frozen=True)
class ShardFile:
    """A file: its name in the directory, the generation that its header names, and how many ids it has."""

    file: str
    generation: str
    documents: int


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says beside format, version and checksum.

    Attributes:
        settings: of the index that every shard is one of, as its file holds them.
        shards: in the order of the build.
    """

    settings: dict[str, Any]
    shards: tuple[ShardFile, ...]

    def encode(self) -> bytes:
        """Return the content of the file."""
        record = {"format": FORMAT, "version": VERSION, **asdict(self)}
        record["crc32c"] = _core.crc32c(json.dumps(record, sort_keys=True).encode())
        return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()

    def write(self, directory: Path) -> None:
        """Write it, in one step that survives a crash of the machine."""
        storage.replace_file(directory / MANIFEST, lambda file: file.write(self.encode()))


def read_manifest(directory: Path) -> Manifest:
    """Return what a directory says.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it holds no sharded index, its manifest is damaged, or a newer tercet wrote it.
    """
    record, content = read_record(directory, FORMAT, VERSION)
    try:
        manifest = Manifest(record["settings"], tuple(ShardFile(**shard) for shard in record["shards"]))
        # A path elsewhere must not be followed, whoever made the checksum.
        named = all(_NAME.fullmatch(s.file) and _HEX.fullmatch(s.generation) for s in manifest.shards)
        intact = named and manifest.encode() == content
        empty_like(manifest.settings)
    except (KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        raise ValueError(f"{directory / MANIFEST}: damaged")
    return manifest


def empty_like(settings: dict[str, Any]) -> VectorIndex:
    """Return an index without vectors of these settings; raises whatever for what are none."""
    return _KINDS[settings["kind"]]._empty(settings)


def open_shard(path: Path) -> tuple[VectorIndex, ShardFile]:
    """Open the file of a shard, mapped, and return it with what a manifest says of it.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, or no index of single vectors; the message names it.
    """
    file = storage.open_file(path, mmap=True)
    settings = storage.read_settings(file, path)
    kind = _KINDS.get(settings.get("kind"))
    if kind is None:
        raise ValueError(f"{path}: expected a FlatIndex or HNSWIndex, got {settings.get('kind')!r}")
    index = kind._restore(file, settings, path)
    return index, ShardFile(path.name, file.generation().hex(), len(index))
