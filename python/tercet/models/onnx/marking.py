"""What becomes of a text before a transformer, and which of its tokens are kept: prompts, lengths, expansion.

As ``Transformer.preprocess`` and ``MultiVectorMask.forward`` of sentence-transformers 6 do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tercet.explain import Role
from tercet.models.backend import Columns, Task

if TYPE_CHECKING:
    from tercet.models.onnx.model import OnnxModel

__all__ = ["Marking"]


class Marking:
    """The way from texts to the tokens that a model reads and keeps.

    Args:
        model: whose tokenizer, prompts and lengths it uses.
        max_length: tokens of a text; None is no limit.
        mask: settings of ``MultiVectorMask``; None keeps every token that the model attends to.

    Raises:
        ValueError: a query expansion that is not of sentence-transformers 6, or whose token does not exist.
    """

    def __init__(self, model: OnnxModel, max_length: int | None, mask: dict[str, Any] | None = None) -> None:
        self.max_length = max_length
        self._tokenizer = model.tokenizer
        self._checkpoint = model.checkpoint
        self._mask = mask
        self._skipped = self._ids_of((mask or {}).get("skiplist_words") or [])
        self._expansion = model.checkpoint.transformer.get("query_expansion")
        if self._expansion is not None:
            self._check_expansion()

    def limit(self, task: Task) -> int | None:
        """Return how many tokens of a query or document are read; None without a limit."""
        own = self._checkpoint.transformer.get(f"{task}_length")
        expansion = self._expansion if task == "query" else None
        if expansion is None:
            return self.max_length if own is None else int(own)
        if expansion["strategy"] == "fixed":
            return int(expansion["length"])
        return self.max_length if own is None else max(int(own), int(expansion["length"]))

    def columns(self, texts: list[str], task: Task) -> Columns:
        """Return the tokens of queries or documents; column ``expansion`` is 1 where one was added."""
        prompt = self._checkpoint.prompt(task)
        columns = self._tokenizer.encode([prompt + text for text in texts], self.limit(task))
        columns["expansion"] = [[0] * len(ids) for ids in columns["input_ids"]]
        if task == "query" and self._expansion is not None:
            self._expand(columns)
        return columns

    def scored(self, columns: Columns, task: Task) -> list[npt.NDArray[np.bool_]]:
        """Return for each text which of its tokens have a vector."""
        mask = self._mask or {}
        skipped = self._skipped if task in mask.get("skiplist_tasks", ["document"]) else []
        only = mask.get("keep_only_token_ids") if task == "document" else None
        kept = []
        for ids, read, added in zip(
            columns["input_ids"], columns["attention_mask"], columns["expansion"], strict=True
        ):
            scored = np.array(read, bool)
            if self._mask is not None:
                scored |= np.array(added, bool)
            scored &= ~np.isin(ids, skipped)
            kept.append(scored & np.isin(ids, only) if only else scored)
        return kept

    def roles(self, columns: Columns, task: Task) -> list[Role]:
        """Return what each token of the first text is there for."""
        special = self._tokenizer.special_ids
        opening = (self._tokenizer.named("cls_token"), self._tokenizer.named("bos_token"))
        prompt = self._prompt_length(task)
        pairs = zip(columns["input_ids"][0], columns["expansion"][0], strict=True)
        return [
            "expansion" if added
            else "" if number not in special
            else "marker" if place < prompt and number not in opening
            else "special"
            for place, (number, added) in enumerate(pairs)
        ]  # fmt: skip

    def _prompt_length(self, task: Task) -> int:
        """Return how many tokens a prompt is, with what stands before it and not what follows it."""
        prompt = self._checkpoint.prompt(task)
        if not prompt:
            return 0
        ids = self._tokenizer.encode([prompt], self.max_length)["input_ids"][0]
        return len(ids) - (1 if ids and ids[-1] in self._tokenizer.special_ids else 0)

    def _expand(self, columns: Columns) -> None:
        """Fill queries that are shorter than the expansion with its token."""
        expansion = self._expansion or {}
        token, read = self._expansion_id(), int(bool(expansion.get("attend")))
        for i, ids in enumerate(columns["input_ids"]):
            missing = max(0, int(expansion["length"]) - len(ids))
            columns["input_ids"][i] = ids + [token] * missing
            columns["attention_mask"][i] = columns["attention_mask"][i] + [read] * missing
            columns["token_type_ids"][i] = columns["token_type_ids"][i] + [0] * missing
            columns["expansion"][i] = columns["expansion"][i] + [1] * missing

    def _expansion_id(self) -> int:
        named = (self._expansion or {}).get("token")
        if named is not None:
            found = self._tokenizer.id_of(named)
        else:
            found = self._tokenizer.named("mask_token")
            found = self._tokenizer.named("eos_token") if found is None else found
        if found is None:
            raise ValueError(
                f"{self._checkpoint.root}: query expansion with {named or 'the mask token'}, which "
                f"{self._checkpoint.tokenizer} does not have"
            )
        return found

    def _check_expansion(self) -> None:
        stated = self._expansion
        known = isinstance(stated, dict) and stated.get("strategy") in ("fixed", "min")
        length = stated.get("length") if isinstance(stated, dict) else None
        if not known or not isinstance(length, int) or length < 1:
            raise ValueError(
                f"{self._checkpoint.root}: expected a query_expansion of strategy 'fixed' or 'min' and a "
                f"length, got {stated!r}"
            )
        self._expansion_id()

    def _ids_of(self, words: list[str]) -> list[int]:
        """Return the ids of words that are one token: any other would skip all unknown tokens."""
        unknown = self._tokenizer.named("unk_token")
        found = [self._tokenizer.id_of(word) for word in words]
        return [number for number in found if number is not None and number != unknown]
