"""A model's products by quicker ways to the same results, for as long as a call lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import Parameter
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from tercet.models.attention import attention

__all__ = ["PackedWeights", "can_pack"]

_ROWS = 2048  # of a product that the layout is chosen for, about a batch
_LABELS = 2  # of a classifier whose products are scores
_MANY = 1024  # rows of a product for which packing costs no more than going without


def can_pack(model: Any) -> bool:
    """Tell whether a model's weights can be packed: on the CPU, by a build of torch that has oneDNN."""
    operators = ("_reorder_linear_weight", "_linear_pointwise")  # what torch.compile makes of a linear layer
    here = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, op) for op in operators)
    compiled = getattr(model, "_compiled_call_impl", None) is not None  # by model.compile(): may do so itself
    return here and model.device.type == "cpu" and not compiled


class PackedWeights(TorchFunctionMode):  # type: ignore[misc]
    """Within it, a weight that meets many rows, or comes a second time, is packed for oneDNN's products.

    torch gives products of float32 to MKL and those of bfloat16 to oneDNN, which arrange the weight anew each
    time. Packing takes as long as a few hundred rows, so a first batch that is small goes without. It is done
    in every call, as autocast rounds weights in every call: nothing is kept that could differ from the model.
    Scores are products in float32: bfloat16 has 128 numbers from 1 to 2, and of 100 documents many would tie.
    Attention in bfloat16 goes by :func:`tercet.models.attention.attention`.

    Measured and lost: torch's dynamic int8, with one scale for a batch, takes a fifth less time than bfloat16
    and brings vaswani reranked by an earlier model from nDCG@10 0.490 to 0.478 (by hand).

    Args:
        dtype: what products are computed in.
        first_token: ids of weights whose products are wanted for the first token of each text alone.
    """

    def __init__(self, dtype: torch.dtype, first_token: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self._dtype = dtype
        self._first_token = first_token
        self._seen: dict[int, Parameter] = {}
        self._packed: dict[int, Any] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is linear and not kwargs and len(args) == 3 and self._plain(*args):
            rows, weight, bias = args
            if len(weight) <= _LABELS:
                with torch.autocast("cpu", enabled=False):
                    return func(rows.float(), weight, bias)
            if rows.dim() == 3 and id(weight) in self._first_token:
                rows = rows[:, :1]
            again = id(weight) in self._seen
            self._seen[id(weight)] = weight
            if again or rows.numel() >= _MANY * rows.shape[-1]:
                operator = torch.ops.mkldnn._linear_pointwise
                added = None if bias is None else bias.to(self._dtype)
                return operator(rows.to(self._dtype), self._pack(weight), added, "none", [], "")
            return func(rows, weight, bias)
        if func is scaled_dot_product_attention and self._dtype == torch.bfloat16:
            made = attention(*args, **kwargs or {})
            if made is not None:
                return made
        return func(*args, **kwargs or {})

    def _plain(self, rows: Any, weight: Any, bias: Any) -> bool:
        """Tell whether these are ordinary tensors: not quantised, no subclass with a way of its own."""
        return (
            rows.dim() > 1
            and type(weight) is Parameter
            and weight.dtype == torch.float32
            and rows.dtype in (torch.float32, self._dtype)
            and (bias is None or type(bias) is Parameter)
        )

    def _pack(self, weight: Parameter) -> Any:
        if id(weight) not in self._packed:
            rounded = weight.detach().to(self._dtype).contiguous()
            self._packed[id(weight)] = torch.ops.mkldnn._reorder_linear_weight(rounded, _ROWS)
        return self._packed[id(weight)]
