"""The small models that come with tercet: the packaged all-MiniLM-L6-v2, and what was trained on top of it.

``python/tercet/data/NAME/`` holds a ``README.md`` (the model card), ``model.json`` (what it is, which
backbone it belongs to, SHA-256 of the weights of both) and ``updates.safetensors``, matrices as int8 with a
float16 ``NAME.scale [rows, 1]``, vectors as float16:

* ``backbone.<module>.lora_A [rank, in]`` and ``.lora_B [out, rank]``: the module's weight is the backbone's
  plus ``scale * lora_B @ lora_A`` (LoRA, Hu et al. 2021);
* the head: of a ColBERT ``projection.weight [dim, hidden]``, ``.bias``, ``up.weight [hidden, hidden]``,
  ``.bias`` and ``down.weight [dim, hidden]``, which make ``projection(x) + down(gelu(up(x)))`` of a token;
  or ``pooler.*`` and ``classifier.*`` of a ``BertForSequenceClassification``.

So a model of 90 MB is a file of one. ``ColBERT().model.save_pretrained(folder)``, and the same of a
``CrossEncoder``, write all of it, as sentence-transformers and its relatives load it.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import logging
import os
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tercet.models.loading import packaged_model, sentence_transformers

__all__ = [
    "COLBERT",
    "RERANKER",
    "Trained",
    "add_updates",
    "colbert",
    "cross_encoder",
    "home",
    "is_trained",
    "read_trained",
]

COLBERT, RERANKER = "tercet-colbert-mini", "tercet-rerank-mini"
_SCALE = ".scale"  # behind the name of a matrix of int8


class Trained(NamedTuple):
    """What was trained of one model.

    Attributes:
        about: ``model.json``.
        tensors: ``updates.safetensors`` as float32 torch tensors, by name.
    """

    about: dict[str, Any]
    tensors: dict[str, Any]


def is_trained(model: Any, name: str) -> bool:
    """Tell whether what a class was given stands for its model that comes with tercet; None does."""
    return model is None or (model == name and not os.path.isdir(name))


def home(name: str) -> Path:
    """Return the folder of a model that comes with tercet."""
    return Path(str(importlib.resources.files("tercet") / "data" / name))


def read_trained(folder: Path) -> Trained:
    """Read a folder and compare what is in it, and the backbone, with what it says.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file, or the installed backbone, is not the one that ``model.json`` names.
    """
    from safetensors.torch import load_file

    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    updates, backbone = folder / "updates.safetensors", Path(packaged_model()) / "model.safetensors"
    for path, key in ((updates, "updates_sha256"), (backbone, "backbone_sha256")):
        found = _sha256(path)
        if found != about[key]:
            raise ValueError(
                f"{path}: expected SHA-256 {about[key]}, found {found}: not the file that was trained"
            )
    held = {name: tensor.float() for name, tensor in load_file(updates).items()}
    scales = {name.removesuffix(_SCALE): held.pop(name) for name in list(held) if name.endswith(_SCALE)}
    return Trained(about, held | {name: held[name] * scale for name, scale in scales.items()})


def add_updates(model: Any, trained: Trained) -> None:
    """Add the low-rank updates to the weights of a transformers ``BertModel``, in place.

    Raises:
        ValueError: the model has not every module that was trained.
    """
    import torch

    modules = dict(model.named_modules())
    names = [n.removesuffix(".lora_A") for n in trained.tensors if n.endswith(".lora_A")]
    for name in names:
        module = modules.get(name.removeprefix("backbone."))
        if module is None:
            raise ValueError(f"{name}: no such module in {type(model).__name__}")
        down, up = trained.tensors[f"{name}.lora_A"], trained.tensors[f"{name}.lora_B"]
        with torch.no_grad():
            module.weight += (trained.about["scale"] * (up @ down)).to(module.weight.device)


def colbert(device: str | None = None, folder: Path | None = None) -> Any:
    """Return ``tercet-colbert-mini`` (or another folder like its own) as a ``MultiVectorEncoder``."""
    library = sentence_transformers()
    import torch

    trained = read_trained(folder or home(COLBERT))
    modules, own = library.sentence_transformer.modules, library.multi_vector_encoder.modules
    transformer = modules.Transformer(
        packaged_model(),
        max_seq_length=trained.about["max_length"],
        model_kwargs={"dtype": torch.float32},
    )
    add_updates(transformer.auto_model, trained)
    scaled = modules.Normalize(module_input_name="token_embeddings")
    # Punctuation of documents, a sixth of their tokens, made no difference where it was measured
    mask = own.MultiVectorMask(skiplist_words=list(string.punctuation))
    return library.MultiVectorEncoder(
        modules=[transformer, mask, *_head(trained), scaled],
        device=device or library.util.get_device_name(),
    )


def _head(trained: Trained) -> list[Any]:
    """Return ``projection(x) + down(gelu(up(x)))`` as two ``Dense``, which every reader of the layout knows.

    The first has the hidden units side by side: ``gelu(up(x))``, and ``gelu(0) = 0`` plus a residual that is
    ``projection(x)`` without its bias. The second adds them.
    """
    import torch

    dense = sentence_transformers().sentence_transformer.modules.Dense
    projection, up, down = (_part(trained, f"{name}.") for name in ("projection", "up", "down"))
    dim, hidden = projection["weight"].shape
    first = dense(
        hidden,
        hidden + dim,
        activation_function=torch.nn.GELU(),
        init_weight=torch.cat([up["weight"], torch.zeros(dim, hidden)]),
        init_bias=torch.cat([up["bias"], torch.zeros(dim)]),
        module_input_name="token_embeddings",
        use_residual=True,
    )
    first.residual.weight = torch.nn.Parameter(torch.cat([torch.zeros(hidden, hidden), projection["weight"]]))
    second = dense(
        hidden + dim,
        dim,
        activation_function=torch.nn.Identity(),
        init_weight=torch.cat([down["weight"], torch.eye(dim)], dim=1),
        init_bias=projection["bias"],
        module_input_name="token_embeddings",
    )
    return [first, second]


def cross_encoder(device: str | None = None, folder: Path | None = None) -> Any:
    """Return ``tercet-rerank-mini`` (or another folder like its own) as a ``CrossEncoder``."""
    library = sentence_transformers()
    import torch

    trained = read_trained(folder or home(RERANKER))
    with _quiet():  # transformers reports the head as new, which it is until the next lines
        model = library.CrossEncoder(
            packaged_model(),
            num_labels=1,
            max_length=trained.about["max_length"],
            device=device or library.util.get_device_name(),
            model_kwargs={"dtype": torch.float32},
        )
    classifier = model.transformers_model
    add_updates(classifier.bert, trained)
    classifier.bert.pooler.dense.load_state_dict(_part(trained, "pooler."))
    classifier.classifier.load_state_dict(_part(trained, "classifier."))
    return model


def _part(trained: Trained, prefix: str) -> dict[str, Any]:
    return {n.removeprefix(prefix): tensor for n, tensor in trained.tensors.items() if n.startswith(prefix)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep both libraries from saying that they make a cross-encoder of a bi-encoder, with a new head."""
    loggers = [logging.getLogger(library) for library in ("transformers", "sentence_transformers")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
