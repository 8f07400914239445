"""What the files beside a ``tokenizer.json`` change in it when transformers loads it."""

from __future__ import annotations

from typing import Any

from tercet.models.onnx.checkpoint import Checkpoint

__all__ = ["TokenSettings"]

_AS_SAVED = ("PreTrainedTokenizer", "TokenizersBackend")  # classes that take tokenizer.json as it is
# Classes whose model is not told which tokens are of a second text, unless model_input_names says so
_UNTYPED = (*_AS_SAVED, "DistilBertTokenizer", "MPNetTokenizer")
# What transformers takes where tokenizer_class is missing, of the classes that treat tokenizer.json otherwise
_BY_MODEL = {
    "bert": "BertTokenizer",
    "electra": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "mpnet": "MPNetTokenizer",
}
_OF_BERT = ("do_lower_case", "tokenize_chinese_chars", "strip_accents")
_REBUILT = ("Albert", "DebertaV2", "RemBert", "XLNet")  # their do_lower_case adds a Lowercase
_BY_TORCH = ("processing_kwargs", "processor_kwargs", "tokenizer_args")


class TokenSettings:
    """The settings of ``tokenizer_config.json`` that change tokens.

    Attributes:
        typed: whether the model is told which tokens are of a second text.

    Raises:
        ValueError: a setting that is not supported; names it.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._names = checkpoint.token_names
        self._root = checkpoint.root
        implied = _BY_MODEL.get(str(checkpoint.config.get("model_type")), "")
        self._class = str(self._names.get("tokenizer_class") or implied).removesuffix("Fast")
        inputs = self._names.get("model_input_names")
        self.typed: bool = self._class not in _UNTYPED if inputs is None else "token_type_ids" in inputs
        side = self._names.get("truncation_side")
        if side not in (None, "left", "right"):
            raise self._unsupported("truncation_side", side, "'left' or 'right'")
        for name in _BY_TORCH:
            if value := checkpoint.transformer.get(name):
                raise ValueError(
                    f"{self._root}: sentence_bert_config.json: {name} {value!r}: the onnx backend does not "
                    "support it; backend='torch' does"
                )

    def cut_side(self, saved: dict[str, Any] | None) -> str:
        """Return the side on which a text that is too long loses tokens; ``saved`` is the tokenizer's own."""
        return str(self._names.get("truncation_side") or (saved or {}).get("direction") or "right")

    def normalizer(self, saved: Any) -> Any:
        """Return the normalizer that transformers makes of the one in ``tokenizer.json``.

        Raises:
            ValueError: a setting says otherwise than the file, and how is not known here.
        """
        from tokenizers import normalizers

        if self._class in ("", *_AS_SAVED):
            return saved
        if isinstance(saved, normalizers.BertNormalizer):
            lower, chinese, accents = (self._names.get(name) for name in _OF_BERT)
            return normalizers.BertNormalizer(
                clean_text=saved.clean_text,
                handle_chinese_chars=chinese is None or bool(chinese),
                strip_accents=accents,
                lowercase=lower is None or bool(lower),
            )
        lower = self._names.get("do_lower_case")
        lowers = saved is not None and b'"Lowercase"' in saved.__getstate__()
        if self._class.removesuffix("Tokenizer") in _REBUILT and lower not in (None, lowers):
            raise self._unsupported("do_lower_case", lower, f"{lowers}, as in tokenizer.json")
        return saved

    def _unsupported(self, name: str, value: Any, expected: str) -> ValueError:
        return ValueError(f"{self._root}: tokenizer_config.json: {name}: expected {expected}, got {value!r}")
