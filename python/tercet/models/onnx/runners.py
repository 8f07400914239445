"""Models that ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.explain import Token
from tercet.models.backend import Backend, Columns, Task, checked_length
from tercet.models.fingerprint import PROBE, sketch
from tercet.models.onnx.heads import Head, Rows, activation, normalized, read_head
from tercet.models.onnx.marking import Marking
from tercet.models.onnx.model import OnnxModel, digest
from tercet.models.onnx.session import Graph
from tercet.models.texts import batches, default_budget

__all__ = ["OnnxPairs", "OnnxTokens", "OnnxVectors"]


class _OnnxRunner:
    backend: Backend = "onnx"
    device = "cpu"

    def __init__(self, model: OnnxModel, graph: Graph) -> None:
        self.model = model
        self.name = model.name
        self.precision = graph.precision
        self.budget = default_budget(self.device, graph.threads)
        self._graph = graph


class _Transformer(_OnnxRunner):
    """Texts through the transformer and the projections of its tokens."""

    def __init__(self, model: OnnxModel, graph: Graph, head: Head, marking: Marking) -> None:
        super().__init__(model, graph)
        self._head = head
        self._marking = marking
        try:
            self._tokens_dim = head.tokens(np.zeros((1, 1, graph.width), np.float32)).shape[-1]
        except ValueError as e:
            raise ValueError(f"{self.name}: its projections do not fit {graph.width} dimensions: {e}") from e

    def content(self, settings: dict[str, Any]) -> str:
        tokens = [self._marking.columns([PROBE], task) for task in ("query", "document")]
        limits = [self._marking.limit("query"), self._marking.limit("document")]
        return digest(self._graph, tokens, [limits, self._head.record], settings)

    def probe(self) -> list[float]:
        return sketch(self._probed("query"), self._probed("document"))

    def _probed(self, task: Task) -> Rows:
        raise NotImplementedError

    @property
    def max_length(self) -> int | None:
        return self._marking.max_length

    def _run(self, columns: Columns, batch_size: int) -> Iterator[tuple[npt.NDArray[np.int64], Rows]]:
        """Yield places of texts and their token vectors ``[n, width, dim]``, padding included."""
        lengths = np.array([len(ids) for ids in columns["input_ids"]], np.int64)
        for batch in batches(lengths, self.budget, batch_size):
            hidden = self._graph.run(columns, batch.tolist(), self.model.tokenizer.pad_id)
            yield batch, self._head.tokens(hidden)


class OnnxVectors(_Transformer):
    """A transformer whose token vectors are pooled."""

    def __init__(self, model: OnnxModel, *, max_length: int | None) -> None:
        head = read_head(model.checkpoint)
        if not head.modes:
            found = [module.kind for module in model.checkpoint.modules or []]
            raise ValueError(f"{model.name}: expected a model that pools tokens, found modules {found}")
        marking = Marking(model, checked_length(max_length, model.checkpoint.max_length))
        graph = model.graph("last_hidden_state", "token_embeddings", axes=3)
        head.truncate(model.checkpoint)
        super().__init__(model, graph, head, marking)
        one = np.zeros((1, 1, self._tokens_dim), np.float32)
        self.dim = head.pool(one, np.ones((1, 1), bool)).shape[1]

    def encode(
        self, texts: list[str], task: Task, *, batch_size: int, normalize: bool
    ) -> npt.NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dim), np.float32)
        columns = self._marking.columns(texts, task)
        for batch, tokens in self._run(columns, batch_size):
            vectors[batch] = self._head.pool(tokens, _inside(columns, batch, tokens.shape[1]))
        return normalized(vectors) if normalize else vectors

    def _probed(self, task: Task) -> Rows:
        return self.encode([PROBE], task, batch_size=1, normalize=False)

    def encode_both(
        self, texts: list[str], *, batch_size: int, normalize: bool
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        vectors = np.empty((len(texts), self.dim), np.float32)
        rows: list[Any] = [None] * len(texts)
        columns = self._marking.columns(texts, "document")
        for batch, tokens in self._run(columns, batch_size):
            inside = _inside(columns, batch, tokens.shape[1])
            vectors[batch] = self._head.pool(tokens, inside)
            for place, text, kept in zip(batch.tolist(), tokens, inside, strict=True):
                rows[place] = normalized(text[kept])
        return normalized(vectors) if normalize else vectors, rows

    def token_runner(self, device: str | None, precision: Any) -> OnnxTokens:
        if device not in (None, "cpu") or precision not in (None, "auto", self.precision):
            raise ValueError(
                f"expected device 'cpu' and precision {self.precision!r}, those of the BiEncoder, "
                f"got {device!r} and {precision!r}"
            )
        head = self._head.unpooled()
        marking = Marking(self.model, self._marking.max_length, head.mask)
        return OnnxTokens(self.model, self._graph, head, marking)


class OnnxTokens(_Transformer):
    """A transformer whose token vectors are kept, but for those that ``MultiVectorMask`` skips."""

    def __init__(self, model: OnnxModel, graph: Graph, head: Head, marking: Marking) -> None:
        super().__init__(model, graph, head, marking)
        self.dim = self._tokens_dim

    @classmethod
    def of_checkpoint(cls, model: OnnxModel) -> OnnxTokens:
        """Return a runner for a late-interaction checkpoint of sentence-transformers.

        Raises:
            ValueError: no such checkpoint; says what it is.
        """
        kind, modules = model.checkpoint.described.get("model_type"), model.checkpoint.modules
        if kind != "MultiVectorEncoder" or modules is None:
            raise ValueError(
                f"{model.name}: expected modules.json, and model_type 'MultiVectorEncoder' in "
                "config_sentence_transformers.json (sentence-transformers 6); found model_type "
                f"{kind!r}. A checkpoint of "
                "PyLate or Stanford-NLP becomes one by ColBERT(name, backend='torch').model."
                "save_pretrained(directory); of an ordinary encoder, ColBERT.from_biencoder takes the tokens"
            )
        head = read_head(model.checkpoint)
        if head.modes:
            raise ValueError(f"{model.name}: expected no Pooling in a late-interaction model")
        marking = Marking(model, model.checkpoint.max_length, head.mask)
        graph = model.graph("last_hidden_state", "token_embeddings", axes=3)
        return cls(model, graph, head, marking)

    @property
    def max_length(self) -> int | None:
        return self._marking.limit("document")

    def encode(self, texts: list[str], task: Task, *, batch_size: int) -> list[npt.NDArray[np.float32]]:
        rows: list[Any] = [None] * len(texts)
        columns = self._marking.columns(texts, task)
        scored = self._marking.scored(columns, task)
        for batch, tokens in self._run(columns, batch_size):
            for place, text in zip(batch.tolist(), tokens, strict=True):
                rows[place] = text[: len(scored[place])][scored[place]]
        return rows

    def _probed(self, task: Task) -> Rows:
        return self.encode([PROBE], task, batch_size=1)[0]

    def tokens(self, text: str, task: Task) -> list[Token]:
        columns = self._marking.columns([text], task)
        names = [self.model.tokenizer.token_of(number) for number in columns["input_ids"][0]]
        named = zip(
            names, self._marking.roles(columns, task), self._marking.scored(columns, task)[0], strict=True
        )
        return [Token(name, role) for name, role, kept in named if kept]


class OnnxPairs(_OnnxRunner):
    """A sequence classifier."""

    def __init__(self, model: OnnxModel) -> None:
        checkpoint = model.checkpoint
        architectures = checkpoint.config.get("architectures") or []
        classifies = [str(a).endswith("ForSequenceClassification") for a in architectures]
        if checkpoint.modules or not classifies or not all(classifies):
            kinds = [module.kind for module in checkpoint.modules or []]
            raise ValueError(
                f"{model.name}: expected a *ForSequenceClassification export, found architectures "
                f"{architectures}" + (f" and modules {kinds}" if kinds else "")
            )
        described = checkpoint.described
        if checkpoint.modules is not None and described.get("model_type") != "CrossEncoder":
            raise ValueError(
                f"{model.name}: expected model_type 'CrossEncoder' in config_sentence_transformers.json, "
                f"beside a modules.json, got {described.get('model_type')!r}"
            )
        super().__init__(model, model.graph("logits", axes=2))
        self.labels = self._graph.width
        self.max_length = checkpoint.max_length
        self._prompt = str((described.get("prompts") or {}).get(described.get("default_prompt_name")) or "")

    def inference(self) -> AbstractContextManager[None]:
        return nullcontext()

    def query_tokens(self, queries: Sequence[str]) -> tuple[list[int], int]:
        lengths = self.model.tokenizer.lengths([self._prompt + query for query in queries])
        return lengths, self.model.tokenizer.special_tokens(pair=True)

    def tokenize(self, pairs: list[tuple[str, str]], max_length: int | None) -> Columns:
        prompted = [(self._prompt + query, text) for query, text in pairs]
        return self.model.tokenizer.encode_pairs(prompted, max_length)

    def logits(self, columns: Columns, batch: list[int]) -> npt.NDArray[np.float32]:
        return self._graph.run(columns, batch, self.model.tokenizer.pad_id)

    def activate(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        config = self.model.checkpoint.config
        stated = (
            self.model.checkpoint.described.get("activation_fn")
            or (config.get("sentence_transformers") or {}).get("activation_fn")
            or config.get("sbert_ce_default_activation_function")
        )
        return activation(stated or "Sigmoid", self.name)(logits)


def _inside(columns: Columns, batch: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.bool_]:
    """Return which of ``[n, width]`` padded places hold a token."""
    lengths = np.array([len(columns["input_ids"][i]) for i in batch.tolist()])
    inside: npt.NDArray[np.bool_] = np.arange(width) < lengths[:, None]
    return inside
