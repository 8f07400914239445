"""Cross-encoders that sentence-transformers runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.models.backend import Columns
from tercet.models.checkpoint import refuse_untrained
from tercet.models.fingerprint import PROBE
from tercet.models.first_token import read_at_the_first_token
from tercet.models.loading import load
from tercet.models.precision import Precision, inference
from tercet.models.torch_runners import TorchRunner, array

__all__ = ["TorchPairs"]


class TorchPairs(TorchRunner):
    """A ``CrossEncoder`` of sentence-transformers."""

    def __init__(
        self, model: Any, *, device: str | None, precision: Precision | None, options: dict[str, Any]
    ) -> None:
        loaded, name = load("CrossEncoder", model, device, options)
        if getattr(loaded[0], "transformer_task", None) != "sequence-classification":
            raise ValueError(
                f"{name}: expected a *ForSequenceClassification checkpoint, found "
                f"{type(loaded.transformers_model).__name__}; sentence_transformers.CrossEncoder runs it"
            )
        if isinstance(model, (str, os.PathLike)):
            refuse_untrained(loaded, name, options)
        super().__init__(loaded, name, precision)

    def _once(self) -> object:
        return self.logits(self.tokenize([(PROBE, PROBE)], self.max_length), [0])

    @property
    def labels(self) -> int:
        return int(self.model.num_labels)

    def inference(self) -> AbstractContextManager[None]:
        self.model.eval()
        return inference(self.model, self.precision, read_at_the_first_token(self.model.transformers_model))

    def query_tokens(self, queries: Sequence[str]) -> tuple[list[int], int]:
        tokenizer = self.model.tokenizer
        encoded = tokenizer([self._prompt + query for query in queries], add_special_tokens=False)
        return [len(ids) for ids in encoded["input_ids"]], tokenizer.num_special_tokens_to_add(pair=True)

    def tokenize(self, pairs: list[tuple[str, str]], max_length: int | None) -> Columns:
        text = {"padding": False, "truncation": "only_second", "max_length": max_length}
        if max_length is None:
            text = {"padding": False, "truncation": False}
        features = self.model.preprocess(
            pairs,
            prompt=self._prompt or None,
            processing_kwargs={"text": text, "common": {"return_tensors": None}},
        )
        return {name: column for name, column in features.items() if isinstance(column, list)}

    def logits(self, columns: Columns, batch: list[int]) -> npt.NDArray[np.float32]:
        rows = {name: [column[i] for i in batch] for name, column in columns.items()}
        padded = self.model.tokenizer.pad(rows, return_tensors="pt")
        features = {name: tensor.to(self.model.device) for name, tensor in padded.items()}
        return array(self.model({**features, "modality": "text"})["scores"], normalize=False)

    def activate(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        import torch

        return array(self.model.activation_fn(torch.from_numpy(logits)), normalize=False)

    @property
    def _prompt(self) -> str:
        """What the model wants before every query, as sentence-transformers resolves it."""
        return self.model.prompts.get(self.model.default_prompt_name) or ""
