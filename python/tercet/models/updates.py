"""What was trained on top of the packaged all-MiniLM-L6-v2, as a folder: read, checked, and added to it.

``python/tercet/data/NAME/`` holds a ``README.md`` (the model card), ``model.json`` (what it is, which
backbone it belongs to, SHA-256 of the weights of both) and ``updates.safetensors``, matrices as int8 with a
float16 ``NAME.scale [rows, 1]``, vectors as float16:

* ``backbone.<module>.lora_A [rank, in]`` and ``.lora_B [out, rank]``: the module's weight is the backbone's
  plus ``scale * lora_B @ lora_A`` (LoRA, Hu et al. 2021);
* the head: of a ColBERT ``projection.weight [dim, hidden]``, ``.bias``, ``up.weight [hidden, hidden]``,
  ``.bias`` and ``down.weight [dim, hidden]``, which make ``projection(x) + down(gelu(up(x)))`` of a token;
  or ``pooler.*`` and ``classifier.*`` of a ``BertForSequenceClassification``.

So a model of 90 MB is a file of one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from tercet.models.loading import packaged_model

__all__ = ["Trained", "add_updates", "read_trained"]

_SCALE, _DOWN, _UP = ".scale", ".lora_A", ".lora_B"
_KEYS = ("backbone_sha256", "updates_sha256", "scale", "max_length")


class Trained(NamedTuple):
    """What was trained of one model.

    Attributes:
        path: of ``updates.safetensors``.
        about: ``model.json``.
        tensors: the updates as float32 torch tensors, by name.
    """

    path: Path
    about: dict[str, Any]
    tensors: dict[str, Any]

    def head(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the tensors of a head.

        Args:
            shapes: of each that there must be.

        Raises:
            ValueError: one is missing, of another shape, or not of this head.
        """
        held = {n: t for n, t in self.tensors.items() if not n.startswith("backbone.")}
        found = {name: tuple(tensor.shape) for name, tensor in held.items()}
        for name in sorted(found.keys() | shapes.keys()):
            if found.get(name) != shapes.get(name):
                raise ValueError(
                    f"{self.path}: expected {name} {_said(shapes.get(name))}, found {_said(found.get(name))}"
                )
        return held


def read_trained(folder: Path) -> Trained:
    """Read a folder and compare what is in it, and the backbone, with what it says.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file, or the installed backbone, is not the one that ``model.json`` names, or not whole.
    """
    from safetensors.torch import load

    about = _about(folder / "model.json")
    updates, backbone = folder / "updates.safetensors", Path(packaged_model()) / "model.safetensors"
    for path, key in ((updates, "updates_sha256"), (backbone, "backbone_sha256")):
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != about[key]:
            raise ValueError(
                f"{path}: expected SHA-256 {about[key]}, found {found}: not the file that was trained"
            )
    try:
        held = load(updates.read_bytes())
    except Exception as error:  # SafetensorError is an Exception and no more
        raise ValueError(f"{updates}: {error}") from error
    return Trained(updates, about, _restored(updates, held))


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    missing = [key for key in _KEYS if not isinstance(about, dict) or key not in about]
    if missing:
        raise ValueError(f"{path}: says nothing of {', '.join(missing)}")
    return dict(about)


def _restored(path: Path, held: dict[str, Any]) -> dict[str, Any]:
    """Return float32 tensors: of int8 times the scales of their rows."""
    import torch

    made = {}
    for name, tensor in held.items():
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in held:
            continue
        scale = held.get(name + _SCALE)
        if (tensor.dtype == torch.int8) != (scale is not None):
            raise ValueError(
                f"{path}: {name} of {tensor.dtype} {'without' if scale is None else 'with'} scales"
            )
        if scale is not None and scale.shape != (len(tensor), 1):
            raise ValueError(f"{path}: {name} has {len(tensor)} rows, and scales {_said(scale.shape)}")
        made[name] = tensor.float() if scale is None else tensor.float() * scale.float()
        if not made[name].isfinite().all():
            raise ValueError(f"{path}: {name} is not finite")
    return made


def add_updates(model: Any, trained: Trained) -> None:
    """Add the low-rank updates to the weights of a transformers ``BertModel``, in place.

    Raises:
        ValueError: what was trained is not every linear layer of the encoder, in their shapes.
    """
    import torch

    linear = {
        f"backbone.encoder.{name}": module
        for name, module in model.encoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    expected = {name + side for name in linear for side in (_DOWN, _UP)}
    found = {name for name in trained.tensors if name.startswith("backbone.")}
    for name in sorted(expected ^ found):
        kind = type(model).__name__
        told = f"no such layer in {kind}" if name in found else f"missing, and {kind} has the layer"
        raise ValueError(f"{trained.path}: {name}: {told}")
    for name, module in linear.items():
        down, up = trained.tensors[name + _DOWN], trained.tensors[name + _UP]
        if (len(up), *up.shape[1:], *down.shape[1:]) != (
            len(module.weight),
            len(down),
            module.weight.shape[1],
        ):
            raise ValueError(
                f"{trained.path}: {name}: {_said(up.shape)} by {_said(down.shape)} "
                f"for {_said(module.weight.shape)}"
            )
        with torch.no_grad():
            module.weight += (trained.about["scale"] * (up @ down)).to(module.weight.device)


def _said(shape: Any) -> str:
    return "nothing" if shape is None else str(list(shape))
