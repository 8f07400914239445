"""In which numbers a model computes: float32, or bfloat16 where the processor multiplies those."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

from tercet import _core

__all__ = ["Precision", "choose_precision", "inference", "runs_in"]

Precision = Literal["auto", "float32", "bfloat16"]


def choose_precision(wanted: Precision | None, model: Any) -> str:
    """Return what a loaded model shall compute in.

    Args:
        wanted: None is the dtype of its weights, float32 on a CPU. ``"auto"`` is the same, but bfloat16 on a
            CPU with AVX512_BF16: without that instruction it is slower than float32. Not every architecture
            can (:func:`runs_in`).
        model: a sentence-transformers model on its device.

    Raises:
        ValueError: ``wanted`` is none of these, or not the dtype of the weights on an accelerator.
    """
    if wanted not in (None, "auto", "float32", "bfloat16"):
        raise ValueError(f"precision: expected 'auto', 'float32' or 'bfloat16', got {wanted!r}")
    if model.device.type == "cpu":
        fast = "avx512_bf16" in _core.cpu_info()["supported"]
        return ("bfloat16" if fast else "float32") if wanted == "auto" else wanted or "float32"
    own = str(model.dtype).removeprefix("torch.")
    if wanted not in (None, "auto", own):
        raise ValueError(
            f"precision: {wanted} on {model.device}, where the model computes in {own}, the dtype of its "
            f"weights: load it with model_kwargs={{'dtype': torch.{wanted}}}"
        )
    return own


def runs_in(precision: str, model: Any, once: Callable[[], object]) -> bool:
    """Tell whether a model gets through a call in a precision.

    Some do not in bfloat16: they fill a mask with float32's least number (DeBERTa v1), or put results of
    two dtypes together (X-MOD).
    """
    try:
        with inference(model, precision):
            once()
    except (RuntimeError, TypeError):
        return False
    return True


@contextmanager
def inference(model: Any, precision: str | None, first_token: frozenset[int] = frozenset()) -> Iterator[None]:
    """Run a model without gradients, its matrix products in ``precision`` if it is on the CPU.

    Weights stay float32 and are rounded once a call (torch's autocast): what a model is does not depend on
    how it is run. Converted for good it would be 4 % faster, measured, with twice the error.
    ``first_token`` is as for :class:`~tercet.models.packing.PackedWeights`.
    """
    import torch

    from tercet.models.packing import PackedWeights, can_pack

    half = precision == "bfloat16" and model.device.type == "cpu"
    dtype = torch.bfloat16 if half else torch.float32
    packed = PackedWeights(dtype, first_token) if can_pack(model) else nullcontext()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half), packed:
        yield
