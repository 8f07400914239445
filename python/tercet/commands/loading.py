"""From what a shell gives to models and ids."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.encoders import Encoder, Reranker
    from tercet.models.backend import Backend
    from tercet.retriever import Retriever

__all__ = ["id_in", "load_colbert", "load_encoder", "load_reranker", "loaded", "named"]


def load_encoder(model: str | None, kind: str, backend: Backend | None) -> Encoder:
    """Return the model of an index of a kind; None is the packaged one."""
    from tercet import models

    if kind == "single":
        return models.BiEncoder(named(model), backend=backend)
    if model is None:
        return models.ColBERT.from_biencoder(backend=backend)
    return models.ColBERT(named(model), backend=backend)


def load_colbert(model: str | None, backbone: str | None, bi: Encoder | None) -> Encoder:
    """Return a late-interaction model; without a name, the token vectors of the bi-encoder."""
    from tercet import models

    if model is not None:
        return models.ColBERT(named(model))
    return models.ColBERT.from_biencoder(named(backbone) if bi is None else bi)


def load_reranker(model: str | None) -> Reranker:
    """Return a cross-encoder; None is the one that comes along."""
    from tercet import models

    return models.CrossEncoder(named(model))


def loaded(retriever: Retriever, *, quiet: bool = False) -> Retriever:
    """Load the model of an index now, which takes seconds, and say so on a terminal."""
    from tercet.progress import saying

    with saying(f"loading {retriever.manifest.encoder.get('name', 'the model')}", quiet=quiet):
        _ = retriever.encoder
    return retriever


def named(model: str | None) -> str | None:
    """Return a directory as its absolute path: it is recorded, and looked for again from anywhere.

    Raises:
        ValueError: an empty name, as of a shell variable that is not set.
    """
    if model == "":
        raise ValueError("expected the name of a model, or a directory, got an empty one")
    return os.path.abspath(model) if model is not None and os.path.isdir(model) else model


def id_in(retriever: Retriever, text: str) -> int | str:
    """Return an id as the index has it: a shell has no numbers."""
    number = int(text) if re.fullmatch(r"-?\d+", text, re.ASCII) else text
    if text not in retriever or number == text:
        return number
    if number in retriever:
        raise ValueError(f"{text} is the id of two documents, a number and a string: remove it from Python")
    return text
