"""What tells one model from another: a string, the same on every machine, and what it makes of a text."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PROBE", "content_hash", "sketch"]

# Mixed case, accents, punctuation, digits and other scripts: what tokenizers disagree about.
PROBE = "What is Ünïcode? 東京, и 42%! naïve-retrieval"

_SKETCH = 32  # numbers; their root mean square estimates a length to within an eighth


def sketch(*rows: npt.NDArray[np.float32]) -> list[float]:
    """Return 32 numbers that tell how far apart two lists of vectors are.

    They are sums of all components under fixed random signs: the root mean square of the differences of two
    sketches is, on average, the distance between what they were made of (Johnson-Lindenstrauss). A hash
    would differ with the last bit, which depends on who computes: about 1e-6 between torch and ONNX Runtime.

    Args:
        rows: arrays ``[n, dim]``. Those of other shapes have a sketch that is far away.
    """
    values = np.concatenate([part.ravel() for part in rows]).astype(np.float64)
    noise = hashlib.shake_128(b"tercet").digest(values.size * _SKETCH // 8)  # the same for good
    signs = np.unpackbits(np.frombuffer(noise, np.uint8)).reshape(values.size, _SKETCH) * 2.0 - 1
    return [float(f"{number:.6g}") for number in values @ signs]


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
        task: encode(PROBE, output_value=None, show_progress_bar=False)["input_ids"].flatten().tolist()
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
