"""What follows the transformer, in numpy: projections, pooling, scaling to length 1."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.models.onnx.checkpoint import Checkpoint, Module
from tercet.models.onnx.safetensors import read_safetensors

__all__ = ["Head", "activation", "mean_head", "normalized", "read_head"]

Rows = npt.NDArray[np.float32]
Step = Callable[[Rows], Rows]

_ACTIVATIONS: dict[str, Step] = {
    "Identity": lambda rows: rows,
    "Tanh": np.tanh,
    "ReLU": lambda rows: np.maximum(rows, np.float32(0)),
    "Sigmoid": lambda rows: np.exp(-np.logaddexp(np.float32(0), -rows)),
}
_INERT = ("Dropout",)  # does nothing but in training
_LEGACY = {  # of older configurations, in the order in which they are joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "lasttoken")


class Head:
    """The modules after a transformer, in their order.

    Attributes:
        modes: how token vectors are pooled; several are joined; empty for late interaction.
        mask: settings of ``MultiVectorMask``, None without one.
        record: what decides the vectors, for a hash of the model.
    """

    def __init__(self, modes: tuple[str, ...] = (), record: list[Any] | None = None) -> None:
        self.modes = modes
        self.mask: dict[str, Any] | None = None
        self.record: list[Any] = [] if record is None else record
        self._on_tokens: list[Step] = []
        self._on_vectors: list[Step] = []

    def unpooled(self) -> Head:
        """Return what stands before the pooling, and scaling to length 1."""
        head = Head((), [*self.record, "tokens"])
        for step in (*self._on_tokens, normalized):
            head.append(step, to_tokens=True)
        head.mask = {}
        return head

    def append(self, step: Step, to_tokens: bool) -> None:
        """Add a step on token vectors, or on pooled ones."""
        (self._on_tokens if to_tokens else self._on_vectors).append(step)

    def truncate(self, checkpoint: Checkpoint) -> None:
        """Keep as many of the first dimensions of a pooled vector as a checkpoint says, if it does.

        Raises:
            ValueError: that is no positive number.
        """
        dim = checkpoint.described.get("truncate_dim")
        if dim is None:
            return
        if not isinstance(dim, int) or dim < 1:
            path = checkpoint.root / "config_sentence_transformers.json"
            raise ValueError(f"{path}: truncate_dim: expected a positive number, got {dim!r}")
        self.record.append(["truncate_dim", dim])
        self.append(lambda rows: rows[:, :dim], to_tokens=False)

    def tokens(self, hidden: Rows) -> Rows:
        """Return ``float32[..., dim]`` of what the transformer gave, ``[..., hidden]``."""
        for step in self._on_tokens:
            hidden = step(hidden)
        return hidden

    def pool(self, tokens: Rows, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return ``float32[n, dim]`` of token vectors ``[n, width, dim]``; ``mask`` is true for tokens."""
        rows = np.concatenate([_pooled(mode, tokens, mask) for mode in self.modes], axis=1)
        for step in self._on_vectors:
            rows = step(rows)
        return rows


def activation(name: str, where: str) -> Step:
    """Return an activation by the name that torch's class has, whatever stands before a last dot.

    Raises:
        ValueError: one that is not supported.
    """
    short = name.rpartition(".")[2]
    if short not in _ACTIVATIONS:
        raise ValueError(f"{where}: expected an activation of {list(_ACTIVATIONS)}, got {name!r}")
    return _ACTIVATIONS[short]


def mean_head() -> Head:
    """Return what a transformer alone is completed with, as by sentence-transformers: the mean."""
    return Head(("mean",), [["Pooling", ["mean"]]])


def read_head(checkpoint: Checkpoint) -> Head:
    """Return the modules of a checkpoint.

    Raises:
        FileNotFoundError: a file of weights is missing.
        ValueError: a module, or a setting of one, that is not supported; names it.
    """
    if checkpoint.modules is None:
        return mean_head()
    head = Head()
    for module in checkpoint.modules:
        _add(head, module)
    return head


def _add(head: Head, module: Module) -> None:
    settings = module.settings
    name = settings.get("module_input_name", "sentence_embedding")
    to_tokens = name == "token_embeddings"
    if module.kind in _INERT:
        return
    head.record.append([module.kind, {key: value for key, value in settings.items() if value}])
    if module.kind == "Pooling" and not head.modes:
        head.modes = _modes(module)
    elif module.kind == "MultiVectorMask" and not head.modes:
        head.mask = settings
    elif (
        module.kind not in ("Dense", "Normalize")
        or name not in ("token_embeddings", "sentence_embedding")
        or settings.get("module_output_name") not in (None, name)
        or to_tokens == bool(head.modes)
    ):
        raise ValueError(
            f"{module.folder}: the onnx backend does not support this module here: {module.kind} of {name}, "
            f"{'after' if head.modes else 'without a Pooling before it'}; backend='torch' does"
        )
    else:
        head.append(normalized if module.kind == "Normalize" else _dense(head, module), to_tokens)


def normalized(rows: Rows) -> Rows:
    """Return rows scaled to length 1; zeros stay zeros."""
    unit: Rows = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.float32(1e-12))
    return unit


def _modes(module: Module) -> tuple[str, ...]:
    settings = module.settings
    stated = settings.get("pooling_mode")
    if stated is None:
        stated = [mode for key, mode in _LEGACY.items() if settings.get(key)] or ["mean"]
    modes = (stated,) if isinstance(stated, str) else tuple(stated)
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown:
        raise ValueError(
            f"{module.folder / 'config.json'}: expected pooling modes of {list(_MODES)}, got {unknown}"
        )
    if not settings.get("include_prompt", True):
        raise ValueError(
            f"{module.folder / 'config.json'}: include_prompt false is not supported by the onnx backend"
        )
    return modes


def _pooled(mode: str, tokens: Rows, mask: npt.NDArray[np.bool_]) -> Rows:
    lengths = mask.sum(axis=1)
    rows: Rows
    if mode == "max":
        rows = np.where(mask[..., None], tokens, np.float32(-np.inf)).max(axis=1)
    elif mode in ("cls", "lasttoken"):  # tokens come first, padding after them
        rows = tokens[np.arange(len(tokens)), 0 if mode == "cls" else np.maximum(lengths - 1, 0)]
    else:
        counts = np.maximum(lengths, 1)[:, None].astype(np.float32)
        total = np.matmul(mask[:, None, :].astype(np.float32), tokens)[:, 0]
        rows = total / (counts if mode == "mean" else np.sqrt(counts))
    return rows


def _dense(head: Head, module: Module) -> Step:
    """Return a projection: ``activation(x W' + b)``, and the input added to it if the module says so."""
    settings, path = module.settings, module.folder / "model.safetensors"
    activate = activation(
        str(settings.get("activation_function", "Tanh")), str(module.folder / "config.json")
    )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a projection needs its weights in this format")
    tensors = read_safetensors(path)
    shapes = _shapes(settings)
    found = {key: list(tensor.shape) for key, tensor in tensors.items()}
    if found != shapes:
        raise ValueError(f"{path}: expected tensors {shapes}, as its config.json says, got {found}")
    head.record.append({key: hashlib.sha256(tensor.tobytes()).hexdigest() for key, tensor in tensors.items()})
    weight = np.ascontiguousarray(tensors["linear.weight"].T)
    bias = tensors.get("linear.bias", np.float32(0))
    residual = None
    if "residual.weight" in tensors:
        residual = np.ascontiguousarray(tensors["residual.weight"].T)

    def project(rows: Rows) -> Rows:
        projected = activate(rows @ weight + bias)
        if settings.get("use_residual"):
            projected = projected + (rows if residual is None else rows @ residual)
        return projected

    return project


def _shapes(settings: dict[str, Any]) -> dict[str, list[int]]:
    wide, narrow = settings.get("in_features", 0), settings.get("out_features", 0)
    shapes = {"linear.weight": [narrow, wide]}
    if settings.get("bias", True):
        shapes["linear.bias"] = [narrow]
    if settings.get("use_residual") and wide != narrow:
        shapes["residual.weight"] = [narrow, wide]
    return shapes
