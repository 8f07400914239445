"""Encoders that sentence-transformers runs, and what these have in common with cross-encoders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.explain import Role, Token
from tercet.models.backend import Backend, Task, checked_length
from tercet.models.checkpoint import late_interaction_format, refuse_incomplete
from tercet.models.fingerprint import PROBE, content_hash, sketch
from tercet.models.loading import load, max_length, sentence_transformers
from tercet.models.precision import Precision, choose_precision, inference, runs_in
from tercet.models.texts import batches, default_budget

__all__ = ["TorchRunner", "TorchTokens", "TorchVectors", "array"]


class TorchRunner:
    """What sentence-transformers' three kinds of models have in common."""

    backend: Backend = "torch"

    def __init__(self, model: Any, name: str, precision: Precision | None) -> None:
        self.model = model
        self.name = name
        self.precision = choose_precision(precision, model)
        chosen = precision == "auto" and self.precision == "bfloat16"
        if chosen and not runs_in("bfloat16", model, self._once):
            self.precision = "float32"

    def _once(self) -> object:
        """Run the model on a short text."""
        return self.model.encode_document([PROBE], show_progress_bar=False)

    @property
    def device(self) -> str:
        return str(self.model.device)

    @property
    def budget(self) -> int:
        import torch

        return default_budget(self.device, torch.get_num_threads())

    @property
    def max_length(self) -> int | None:
        return max_length(self.model)

    def content(self, settings: dict[str, Any]) -> str:
        return content_hash(self.model, settings)

    def probe(self) -> list[float]:
        with inference(self.model, None):
            both = [
                encode([PROBE], convert_to_numpy=True, show_progress_bar=False)[0]
                for encode in (self.model.encode_query, self.model.encode_document)
            ]
        return sketch(*both)

    def _encoder(self, task: Task) -> Any:
        return self.model.encode_query if task == "query" else self.model.encode_document

    def _inference(self, task: Task) -> AbstractContextManager[None]:
        # Queries are few, and stay as precise as the weights
        return inference(self.model, self.precision if task == "document" else None)

    def _encoded(
        self, texts: list[str], task: Task, batch_size: int, **wanted: Any
    ) -> Iterator[tuple[npt.NDArray[np.int64], Any]]:
        """Yield places of texts and what sentence-transformers gives for them, until all have been."""
        encode = self._encoder(task)
        for batch in self._batches(texts, task, batch_size):
            together = [texts[i] for i in batch]
            yield batch, encode(together, batch_size=batch_size, show_progress_bar=False, **wanted)

    def _batches(self, texts: list[str], task: Task, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
        """Return the places of texts that go through the model together, as they have about as many tokens.

        ``encode`` sorts by characters, and takes as many long texts at a time as short ones. It does the
        rest, whatever the modules; texts are tokenised twice, for 1.5 % of the time (MiniLM, bfloat16).
        """
        mask = None
        if len(texts) > 1 and self.model.transformers_model is not None:
            mask = self.model.preprocess(texts, task=task).get("attention_mask")
        if mask is None:  # nothing is padded: one text, static embeddings, FlashAttention
            return iter([np.arange(len(texts))])
        return batches(mask.sum(1).numpy(), self.budget, batch_size)


class TorchVectors(TorchRunner):
    """A ``SentenceTransformer``."""

    def __init__(
        self,
        model: Any,
        *,
        device: str | None,
        precision: Precision | None,
        max_length: int | None,
        options: dict[str, Any],
    ) -> None:
        if max_length is not None and not isinstance(model, (str, os.PathLike)):
            options = {"max_length": max_length, **options}  # it would change the object that was given
        loaded, name = load("SentenceTransformer", model, device, options)
        if isinstance(model, (str, os.PathLike)):
            refuse_incomplete(loaded, name, options)
        super().__init__(loaded, name, precision)
        if max_length is not None:
            self.model.max_seq_length = checked_length(max_length, self.max_length)

    @property
    def dim(self) -> int:
        return int(self.model.get_embedding_dimension())

    def encode(
        self, texts: list[str], task: Task, *, batch_size: int, normalize: bool
    ) -> npt.NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dim), np.float32)
        with self._inference(task):
            for batch, rows in self._encoded(texts, task, batch_size, convert_to_tensor=True):
                vectors[batch] = array(rows, normalize)
        return vectors

    def encode_both(
        self, texts: list[str], *, batch_size: int, normalize: bool
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        import torch

        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens: list[Any] = [None] * len(texts)
        with self._inference("document"):
            for batch, outputs in self._encoded(texts, "document", batch_size, output_value=None):
                if "token_embeddings" not in outputs[0]:
                    raise self._no_tokens()
                pooled = torch.stack([output["sentence_embedding"] for output in outputs])
                vectors[batch] = array(pooled, normalize)
                for place, output in zip(batch.tolist(), outputs, strict=True):
                    inside = output["attention_mask"].bool()
                    tokens[place] = array(output["token_embeddings"][inside], normalize=True)
        return vectors, tokens

    def token_runner(self, device: str | None, precision: Precision | None) -> TorchTokens:
        library = sentence_transformers()
        stages = library.sentence_transformer.modules
        before = list(takewhile(lambda stage: not isinstance(stage, stages.Pooling), self.model))
        if not before or len(before) == len(self.model):
            raise self._no_tokens()
        tokens = library.MultiVectorEncoder(
            modules=[
                *before,
                library.multi_vector_encoder.modules.MultiVectorMask(),
                stages.Normalize(module_input_name="token_embeddings"),
            ],
            device=device or self.device,
            prompts=self.model.prompts,
            default_prompt_name=self.model.default_prompt_name,
        )
        runner = TorchTokens(tokens, device=None, precision=precision, options={})
        runner.name = self.name
        return runner

    def _no_tokens(self) -> ValueError:
        found = [type(stage).__name__ for stage in self.model]
        return ValueError(f"{self.name}: expected a model that pools token vectors, found modules {found}")


class TorchTokens(TorchRunner):
    """A ``MultiVectorEncoder``."""

    def __init__(
        self, model: Any, *, device: str | None, precision: Precision | None, options: dict[str, Any]
    ) -> None:
        if isinstance(model, (str, os.PathLike)):
            late_interaction_format(os.fspath(model), options)
        loaded, name = load("MultiVectorEncoder", model, device, options)
        if isinstance(model, (str, os.PathLike)):
            refuse_incomplete(loaded, name, options)
        super().__init__(loaded, name, precision)

    @cached_property
    def dim(self) -> int:
        # Asked of the output: the modules name the backbone's width where the head is inside the backbone
        return int(self.model.encode_query("a").shape[1])

    @property
    def max_length(self) -> int | None:
        return getattr(self.model[0], "document_length", None) or max_length(self.model)

    def encode(self, texts: list[str], task: Task, *, batch_size: int) -> list[npt.NDArray[np.float32]]:
        # Scaled to length 1 and then rounded, they are up to half a percent longer or shorter
        normalize = sentence_transformers().sentence_transformer.modules.Normalize
        half = task == "document" and self.precision == "bfloat16"
        rescale = half and isinstance(self.model[-1], normalize)
        parts: list[Any] = [None] * len(texts)
        with self._inference(task):
            for batch, rows in self._encoded(texts, task, batch_size, convert_to_numpy=True):
                for place, part in zip(batch.tolist(), rows, strict=True):
                    parts[place] = _unit(part) if rescale else part
        return parts

    def tokens(self, text: str, task: Task) -> list[Token]:
        features = self._encoder(task)(text, output_value=None, show_progress_bar=False)
        ids, scored = features["input_ids"], features["attention_mask"].bool()
        if ids.shape != scored.shape:
            raise ValueError(f"{self.name}: this model pools tokens, so its rows are not tokens")
        names = self.model.tokenizer.convert_ids_to_tokens(ids.tolist())
        named = zip(names, self._roles(features), scored.tolist(), strict=True)
        return [Token(name, role) for name, role, kept in named if kept]

    def _roles(self, features: dict[str, Any]) -> list[Role]:
        """Return what each token of an encoded text is there for."""
        tokenizer = self.model.tokenizer
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}  # which stands for text
        opening = (tokenizer.cls_token_id, tokenizer.bos_token_id)
        prompt = features.get("prompt_length", 0)
        ids = features["input_ids"].tolist()
        expanded = features.get("query_expansion_positions")
        expansion = [False] * len(ids) if expanded is None else expanded.bool().tolist()
        return [
            "expansion" if added
            else "" if id not in special
            else "marker" if place < prompt and id not in opening
            else "special"
            for place, (id, added) in enumerate(zip(ids, expansion, strict=True))
        ]  # fmt: skip


def array(tensor: Any, normalize: bool) -> npt.NDArray[np.float32]:
    """Return a tensor as numpy's float32, its rows scaled to length 1 if asked for."""
    from torch.nn.functional import normalize as unit

    rows = tensor.float()
    if normalize:  # after widening: a float16 norm is off by 1e-3
        rows = unit(rows, dim=1)
    made: npt.NDArray[np.float32] = rows.cpu().numpy()
    return made


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows scaled to length 1."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    unit: npt.NDArray[np.float32] = rows / lengths
    return unit
