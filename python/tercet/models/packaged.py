"""The small models that come with tercet: the packaged all-MiniLM-L6-v2, and what was trained on top of it.

``ColBERT().model.save_pretrained(folder)``, and the same of a ``CrossEncoder``, write all of one, as
sentence-transformers and its relatives load it. :mod:`tercet.models.updates` says how they are stored.
"""

from __future__ import annotations

import importlib.resources
import logging
import os
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tercet.models.loading import packaged_model, sentence_transformers
from tercet.models.updates import Trained, add_updates, read_trained

__all__ = [
    "COLBERT",
    "RERANKER",
    "colbert",
    "cross_encoder",
    "home",
    "is_trained",
]

COLBERT, RERANKER = "tercet-colbert-mini", "tercet-rerank-mini"


def is_trained(model: Any, name: str) -> bool:
    """Tell whether what a class was given stands for its model that comes with tercet; None does."""
    return model is None or (model == name and not os.path.isdir(name))


def home(name: str) -> Path:
    """Return the folder of a model that comes with tercet."""
    return Path(str(importlib.resources.files("tercet") / "data" / name))


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
        modules=[transformer, mask, *_head(trained, transformer.auto_model.config.hidden_size), scaled],
        device=device or library.util.get_device_name(),
    )


def _head(trained: Trained, hidden: int) -> list[Any]:
    """Return ``projection(x) + down(gelu(up(x)))`` as two ``Dense``, which every reader of the layout knows.

    The first has the hidden units side by side: ``gelu(up(x))``, and ``gelu(0) = 0`` plus a residual that is
    ``projection(x)`` without its bias. The second adds them.
    """
    import torch

    dense = sentence_transformers().sentence_transformer.modules.Dense
    dim = len(trained.tensors.get("projection.weight", ()))
    projection, up, down = _parts(
        trained,
        projection={"weight": (dim, hidden), "bias": (dim,)},
        up={"weight": (hidden, hidden), "bias": (hidden,)},
        down={"weight": (dim, hidden)},
    )
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
    hidden = classifier.config.hidden_size
    pooler, last = _parts(
        trained,
        pooler={"weight": (hidden, hidden), "bias": (hidden,)},
        classifier={"weight": (1, hidden), "bias": (1,)},
    )
    classifier.bert.pooler.dense.load_state_dict(pooler)
    classifier.classifier.load_state_dict(last)
    return model


def _parts(trained: Trained, **layers: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """Return the tensors of each layer of a head, which has these and no others."""
    shapes = {f"{layer}.{name}": shape for layer, own in layers.items() for name, shape in own.items()}
    head = trained.head(shapes)
    return [{name: head[f"{layer}.{name}"] for name in own} for layer, own in layers.items()]


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
