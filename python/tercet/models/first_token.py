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
        model: a ``PreTrainedModel``; another kind than those known here gives none, and so does one whose
            modules somebody exchanged or hooked into, or whose layers share these weights.
    """
    if type(model).__name__ not in _MODELS or not all(_is_stock(module) for module in model.modules()):
        return frozenset()
    layers = getattr(model, model.base_model_prefix).encoder.layer
    if len(layers) == 0:
        return frozenset()
    last = layers[-1]
    chosen = frozenset(map(id, (last.attention.output.dense.weight, last.intermediate.dense.weight)))
    uses = sum(id(p) in chosen for _, m in model.named_modules(remove_duplicate=False) for p in _own(m))
    return chosen if uses == len(chosen) == 2 else frozenset()


def _is_stock(module: Any) -> bool:
    """Tell whether a module is one of the libraries' own, as they made it."""
    kind, state = type(module), vars(module)
    hooks = (state.get(f"_{name}_hooks") for name in ("forward", "forward_pre", "backward", "backward_pre"))
    return kind.__module__.startswith(("transformers.", "torch.nn.")) and not (
        "forward" in state or any(hooks)
    )


def _own(module: Any) -> list[Any]:
    return list(module.parameters(recurse=False))
