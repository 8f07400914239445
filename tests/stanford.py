"""How a Stanford-NLP ColBERT encodes, written from its specification with transformers alone.

One text at a time and no padding of documents, so that nothing depends on batches. The marker is put in as a
token id: as text, ``[unused0]`` would be taken apart.
"""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertModel

from toy import projection, read_json


class Stanford:
    def __init__(self, path: Path, encoder: BertModel) -> None:
        self.settings = read_json(path / "artifact.metadata")
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.encoder = encoder
        self.projection = projection().double()
        punctuation = self.tokenizer(list(string.punctuation), add_special_tokens=False)["input_ids"]
        self.skipped = {ids[0] for ids in punctuation} if self.settings["mask_punctuation"] else set()

    def query(self, text: str) -> np.ndarray:
        """All positions: the text's own, and [MASK] up to query_maxlen, by default not attended to."""
        ids = self._ids(text, "query_token_id", self.settings["query_maxlen"])
        expansion = self.settings["query_maxlen"] - len(ids)
        attended = [1] * len(ids) + [int(self.settings["attend_to_mask_tokens"])] * expansion
        return self._vectors(ids + [self.tokenizer.mask_token_id] * expansion, attended)

    def document(self, text: str) -> np.ndarray:
        """All positions but punctuation."""
        ids = self._ids(text, "doc_token_id", self.settings["doc_maxlen"])
        kept = [token not in self.skipped for token in ids]
        return self._vectors(ids, [1] * len(ids))[kept]

    def _ids(self, text: str, marker: str, length: int) -> list[int]:
        words = self.tokenizer(text, add_special_tokens=False)["input_ids"][: length - 3]
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return [first, self.tokenizer.convert_tokens_to_ids(self.settings[marker]), *words, last]

    def _vectors(self, ids: list[int], attended: list[int]) -> np.ndarray:
        with torch.inference_mode():
            hidden = self.encoder(torch.tensor([ids]), torch.tensor([attended])).last_hidden_state[0]
            rows = hidden.double() @ self.projection.T
            return (rows / rows.norm(dim=-1, keepdim=True)).numpy()
