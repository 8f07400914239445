"""What a directory says about the model in it: files, lengths, prompts, what follows the transformer."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tercet.models.backend import Task
from tercet.models.layout import check_layout

__all__ = ["Checkpoint", "Module", "read_checkpoint"]

_GRAPHS = ("onnx/model.onnx", "model.onnx")


@dataclass(frozen=True)
class Module:
    """A module after the transformer: the last part of its type's name, its folder, its ``config.json``."""

    kind: str
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A directory that holds an export.

    Attributes:
        root: the directory.
        graph: the ONNX file.
        tokenizer: ``tokenizer.json``.
        config: of ``config.json``.
        token_names: of ``tokenizer_config.json``: special tokens and settings of the tokenizer.
        transformer: of ``sentence_bert_config.json``; empty without a ``modules.json``.
        described: of ``config_sentence_transformers.json``; empty without a ``modules.json``.
        modules: what follows the transformer; None without a ``modules.json``.
    """

    root: Path
    graph: Path
    tokenizer: Path
    config: dict[str, Any]
    token_names: dict[str, Any]
    transformer: dict[str, Any]
    described: dict[str, Any]
    modules: list[Module] | None

    @property
    def max_length(self) -> int | None:
        """Tokens of a text that the model reads, as sentence-transformers finds it; None without a limit."""
        stated = self.transformer.get("max_seq_length")
        limits = [self.token_names.get("model_max_length"), self.config.get("max_position_embeddings")]
        known = [limit for limit in (limits if stated is None else [stated]) if limit is not None]
        # "no limit" is written as 1e30 by transformers, and as -1 by XLNet
        least = min((limit for limit in known if 0 < limit <= 1 << 30), default=None)
        return None if least is None else int(least)

    def prompt(self, task: Task) -> str:
        """Return what is put before a query or document."""
        return str((self.described.get("prompts") or {}).get(task) or "")


def read_checkpoint(root: Path, file: str | None) -> Checkpoint:
    """Read what a directory says.

    Args:
        root: the directory.
        file: the export in it; None is ``onnx/model.onnx`` or ``model.onnx``.

    Raises:
        FileNotFoundError: no such directory, or a file is missing in it.
        ValueError: a file that is no JSON, or modules that do not begin with a transformer.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such directory; the onnx backend loads a local directory with {' or '.join(_GRAPHS)}"
        )
    listed = _read(root / "modules.json", list)
    base, modules = root, None
    if listed is not None:
        kinds = [str(entry.get("type", "")).rpartition(".")[2] for entry in listed]
        if kinds[:1] != ["Transformer"]:
            raise ValueError(f"{root / 'modules.json'}: expected a Transformer first, found modules {kinds}")
        folders = [_inside(root, str(entry.get("path", ""))) for entry in listed]
        base = folders[0]
        modules = [
            Module(kind, folder, _read(folder / "config.json", dict) or {})
            for kind, folder in zip(kinds[1:], folders[1:], strict=True)
        ]
    check_layout(str(root), lambda name: _read(root / name, list if name == "modules.json" else dict))
    graph = _found(root, base, _GRAPHS if file is None else (file,))
    config = _read(base / "config.json", dict)
    if config is None:
        raise FileNotFoundError(
            f"{base}: no config.json, which says how many tokens the model reads, found {_listing(base)}"
        )
    return Checkpoint(
        root=root,
        graph=graph,
        tokenizer=_found(graph.parent, base, ("tokenizer.json",)),
        config=config,
        token_names=_token_names(base),
        # Without modules.json sentence-transformers takes a directory for one of transformers alone
        transformer={} if modules is None else _read(base / "sentence_bert_config.json", dict) or {},
        described={} if modules is None else _read(root / "config_sentence_transformers.json", dict) or {},
        modules=modules,
    )


def _inside(root: Path, path: str) -> Path:
    """Return a folder of the checkpoint; ValueError for one outside of it."""
    folder = root / path
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{root / 'modules.json'}: path {path!r} is outside of the directory")
    return folder


def _found(root: Path, base: Path, names: tuple[str, ...]) -> Path:
    for folder in dict.fromkeys((base, root)):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise FileNotFoundError(f"{base}: expected a file {' or '.join(names)}, found {_listing(base)}")


def _listing(folder: Path) -> str:
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "nothing"


def _token_names(base: Path) -> dict[str, Any]:
    names = {
        **(_read(base / "special_tokens_map.json", dict) or {}),
        **(_read(base / "tokenizer_config.json", dict) or {}),
    }
    # transformers writes a token as its text, or as an object that describes it
    return {key: v["content"] if isinstance(v, dict) and "content" in v else v for key, v in names.items()}


def _read(path: Path, kind: type) -> Any:
    """Return what a JSON file holds, None when there is none; ValueError names one that is damaged."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(f"{path}: expected JSON: {e}") from e
    if not isinstance(value, kind):
        raise ValueError(f"{path}: expected a JSON {kind.__name__}, got {type(value).__name__}")
    return value
