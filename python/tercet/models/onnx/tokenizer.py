"""From texts to token ids: a ``tokenizer.json``, with the settings that lie beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tercet.models.backend import Columns
from tercet.models.onnx.checkpoint import Checkpoint
from tercet.models.onnx.token_settings import TokenSettings

__all__ = ["TextTokenizer"]


class TextTokenizer:
    """The tokenizer of a checkpoint.

    What is cut off is a setting of a ``tokenizers.Tokenizer``, not of a call, and several threads may encode
    at once: there is one for each limit.

    Raises:
        ValueError: a damaged ``tokenizer.json``, or a setting beside it that is not supported; names it.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._path = checkpoint.tokenizer
        self._lower = bool(checkpoint.transformer.get("do_lower_case"))
        self._names = checkpoint.token_names
        self._pad_id = checkpoint.config.get("pad_token_id")
        self._settings = TokenSettings(checkpoint)
        self._limited: dict[tuple[int | None, str], Any] = {}
        self._whole = self._load(None, "longest_first")

    def encode(self, texts: Sequence[str], limit: int | None) -> Columns:
        """Return the tokens of each text, the special ones with them, at most ``limit``."""
        return self._columns(self._with(limit, "longest_first").encode_batch(list(texts)))

    def encode_pairs(self, pairs: Sequence[tuple[str, str]], limit: int | None) -> Columns:
        """Return the tokens of each pair; only the second text is cut to fit."""
        return self._columns(self._with(limit, "only_second").encode_batch(list(pairs)))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without special ones."""
        return [len(e.ids) for e in self._whole.encode_batch(list(texts), add_special_tokens=False)]

    def special_tokens(self, *, pair: bool) -> int:
        """Return how many special tokens a text, or a pair, gets."""
        return int(self._whole.num_special_tokens_to_add(pair))

    def id_of(self, token: str | None) -> int | None:
        """Return the id of a token, None if there is no such token."""
        number: int | None = None if token is None else self._whole.token_to_id(token)
        return number

    def token_of(self, number: int) -> str:
        """Return the token of an id."""
        return str(self._whole.id_to_token(number))

    def named(self, role: str) -> int | None:
        """Return the id of the token with a role (``mask_token``, ...) in ``tokenizer_config.json``."""
        return self.id_of(self._names.get(role))

    @cached_property
    def pad_id(self) -> int:
        """The id that fills a row, by which some models tell where a text ends."""
        by_name = self.named("pad_token")
        return int((self._pad_id or 0) if by_name is None else by_name)

    @cached_property
    def special_ids(self) -> set[int]:
        """Ids that stand for no text."""
        added = self._whole.get_added_tokens_decoder()
        unknown = {self.named("unk_token"), self.id_of("[UNK]"), self.id_of("<unk>")}
        return {number for number, token in added.items() if token.special} - unknown

    def _with(self, limit: int | None, strategy: str) -> Any:
        key = (limit, strategy)
        if key not in self._limited:
            self._limited[key] = self._load(limit, strategy)
        return self._limited[key]

    def _load(self, limit: int | None, strategy: str) -> Any:
        from tokenizers import Tokenizer, normalizers

        try:
            tokenizer = Tokenizer.from_file(str(self._path))
        except Exception as e:  # the library raises that very class
            raise ValueError(f"{self._path}: no tokenizer: {e}") from e
        side = self._settings.cut_side(tokenizer.truncation)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if limit is not None:
            tokenizer.enable_truncation(limit, strategy=strategy, direction=side)
        tokenizer.normalizer = self._settings.normalizer(tokenizer.normalizer)
        if self._lower:
            own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
            tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
        return tokenizer

    def _columns(self, encodings: list[Any]) -> Columns:
        typed = self._settings.typed
        return {
            "input_ids": [e.ids for e in encodings],
            "attention_mask": [e.attention_mask for e in encodings],
            # What a model that is not told them takes instead
            "token_type_ids": [e.type_ids if typed else [0] * len(e.ids) for e in encodings],
        }
