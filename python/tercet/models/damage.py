"""Damage of a local checkpoint that can be seen before a library reads it, and says which file it is in.

What the libraries say instead is about a header or a column, and names no file; and a tokenizer whose words
are missing loads in silence, as one that knows none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["check_files", "check_vocabulary"]


def check_files(folder: Path) -> None:
    """Look at all JSON and safetensors files of a directory, and of those in it.

    Of safetensors the header is read, and compared with the length of the file. The format has no checksum:
    a changed weight cannot be seen.

    Raises:
        ValueError: one that is damaged or cut short; names it.
    """
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as e:  # of JSON or of UTF-8
            raise ValueError(f"{path}: damaged, not JSON: {e}") from e
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")]):
        _check_safetensors(path)


def _check_safetensors(path: Path) -> None:
    # 8 bytes, the length of the header; the header; the tensors, whose places in the rest it names
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        held = path.stat().st_size - 8 - size
        try:
            header: dict[str, Any] = json.loads(file.read(size) if held >= 0 else b"")
            ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
            raise ValueError(f"{path}: damaged, no header of a safetensors file") from e
    if held != max(ends, default=0):
        raise ValueError(
            f"{path}: damaged, expected {max(ends, default=0):,} bytes of weights, found {held:,}"
        )


def check_vocabulary(name: str, model: Any) -> None:
    """Refuse a model whose tokenizer knows special tokens only, as it does where its files are missing.

    Raises:
        ValueError: such a model.
    """
    tokenizer: Any = getattr(model, "tokenizer", None)
    words: dict[str, int] = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    if words and set(words) <= set(getattr(tokenizer, "all_special_tokens", ())):
        raise ValueError(
            f"{name}: its tokenizer knows {sorted(words)} and no word; expected tokenizer.json, or the "
            "vocabulary of a slow tokenizer (vocab.txt, ...), in the directory"
        )
