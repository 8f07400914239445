"""Layers that a checkpoint holds beyond those that its ``config.json`` counts: trained, and never run."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["layers_left_over"]


def layers_left_over(model: Any, stored: set[str]) -> list[str]:
    """Return the tensors of a checkpoint that belong to numbered layers which the model does not have.

    Other tensors that a model has no use for are usual: a pooler, the head of another task.

    Args:
        model: of transformers.
        stored: names of the tensors in its checkpoint.
    """
    from torch.nn import ModuleList

    base = f"{model.base_model_prefix}."
    # A checkpoint of a model with a head has its base's prefix, and of a bare encoder has none
    counts = {
        name.removeprefix(base): len(module)
        for name, module in model.named_modules()
        if isinstance(module, ModuleList)
    }
    expected = [re.compile(p) for p in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()]
    return sorted(
        name
        for name in stored
        if any(
            int(place[1]) >= counts.get(name[: place.start()].removeprefix(base), int(place[1]) + 1)
            for place in re.finditer(r"\.(\d+)\.", name)
        )
        and not any(pattern.search(name) for pattern in expected)
    )
