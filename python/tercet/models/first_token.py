"""Which products of a cross-encoder's last layer are read at its first token alone."""

from __future__ import annotations

from typing import Any

__all__ = ["read_at_the_first_token"]

# Their heads take hidden[:, 0], and their layers are of one shape
_MODELS = {
    f"{family}ForSequenceClassification"
    for family in ("Bert", "Roberta", "XLMRoberta", "Camembert", "Electra")
}


def read_at_the_first_token(model: Any) -> frozenset[int]:
    """Return the ids of weights whose products a sequence classifier of transformers reads at token 0 alone.

    After the last layer's attention no token looks at another, so its output projection and its feed-forward
    layers, an eighth of a model of six layers, matter for ``[CLS]`` only. Both are followed by the addition
    of what has all tokens, which broadcasts: the first row is what it was, the others are never read.

    Args:
        model: a ``PreTrainedModel``; another kind than those known here gives none.
    """
    if type(model).__name__ not in _MODELS or not type(model).__module__.startswith("transformers."):
        return frozenset()
    layers = getattr(model, model.base_model_prefix).encoder.layer
    if len(layers) == 0:
        return frozenset()
    last = layers[-1]
    return frozenset(map(id, (last.attention.output.dense.weight, last.intermediate.dense.weight)))
