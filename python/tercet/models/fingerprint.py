"""One string that tells one model from another, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["content_hash"]

# Mixed case, accents, punctuation, digits and other scripts: what tokenizers disagree about.
_PROBE = "What is Ünïcode? 東京, и 42%! naïve-retrieval"


def content_hash(model: Any, settings: dict[str, Any]) -> str:
    """Return a SHA-256 over everything that decides the vectors of a sentence-transformers model.

    It covers the weights, the token ids (with prompts, markers and expansion) that a probe text becomes, the
    modules with their settings, the length limits, and ``settings``. It leaves out names, paths, versions,
    the device, and the names and order of the tensors, which libraries change between releases.

    Weights are hashed as float32, so a float16 checkpoint has one hash on a GPU, where it stays float16,
    and on the CPU, where it is widened: every float16 and bfloat16 is a float32.

    Raises:
        ValueError: the model keeps no torch weights (another backend), so there is nothing to tell it by.
    """
    weights = sorted(_tensor_hash(p) for p in model.parameters())
    if not weights:
        raise ValueError(
            f"a {type(model).__name__} without torch weights (backend {model.get_backend()!r}) cannot be "
            "told from another; load it with the torch backend"
        )
    tokens = {
        task: encode(_PROBE, output_value=None, show_progress_bar=False)["input_ids"].flatten().tolist()
        for task, encode in (("query", model.encode_query), ("document", model.encode_document))
    }
    modules = [[type(module).__name__, _module_settings(module)] for module in model]
    record = {"modules": modules, "settings": settings, "tokens": tokens, "weights": weights}
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()


def _tensor_hash(tensor: Any) -> str:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()
    digest = hashlib.sha256(json.dumps(list(tensor.shape)).encode())
    digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def _module_settings(module: Any) -> dict[str, Any]:
    """Return what a module was told, without what is off: an option of a later release changes nothing."""
    config = dict(module.get_config_dict()) if hasattr(module, "get_config_dict") else {}
    config["max_seq_length"] = getattr(module, "max_seq_length", None)
    config.pop("modality_config", None)  # which methods to call: names inside transformers, not a choice
    return {key: value for key, value in config.items() if value}
