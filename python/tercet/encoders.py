"""What a retriever asks of a model, and how a recorded model is recognised and loaded again."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

__all__ = [
    "Encoder",
    "Reranker",
    "check_encoder",
    "check_queries",
    "check_reranker",
    "describe",
    "load_recorded",
    "same_model",
]


class Encoder(Protocol):
    """:class:`tercet.models.BiEncoder`, :class:`tercet.models.ColBERT`, or an object of your own.

    ``encode_*`` return ``float32[n, dim]`` for ``kind="single"`` and token vectors (``TokenVectors`` or a
    list of ``[tokens, dim]``) for ``kind="multi"``. ``fingerprint`` returns a dict that JSON can hold and
    that is equal for equal models; with a key ``"content"``, that entry alone decides, but between two values
    of ``"backend"`` there is ``"probe"``, numbers made of the vectors of a fixed text. For ``explain``,
    an encoder also has ``tokens(text, kind)`` with one string per vector, or :class:`~tercet.explain.Token`
    where it knows what a token that is no text is.
    """

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""

    def encode_query(self, texts: Any, /) -> Any:
        """Return the vectors of a list of queries."""

    def encode_document(self, texts: Any, /) -> Any:
        """Return the vectors of a list of documents."""

    def fingerprint(self) -> dict[str, Any]:
        """Return a record of the model."""


class Reranker(Protocol):
    """:class:`tercet.models.CrossEncoder`, :class:`tercet.models.ColBERT`, or an object of your own."""

    def score(self, query: str, texts: Any, /) -> Any:
        """Return one number per text, larger is better."""


_KINDS = {"BiEncoder": "single", "ColBERT": "multi", "ColBERT.from_biencoder": "multi"}
_SETTINGS = ("kind", "dim", "normalize", "max_length")
# Of the length, with all-MiniLM-L6-v2: torch and ONNX Runtime differ by 6e-7, float16 and float32 weights by
# 9e-4, an export of 8 bits and one of 32 by 3e-2
_TOLERANCE = 3e-3
_METHODS = ("dim", "encode_query", "encode_document", "fingerprint")


def check_encoder(encoder: Any, kind: str | None = None) -> str | None:
    """Return the kind of vectors of tercet's own encoders, None of others, which do not tell.

    Raises:
        TypeError: it is no encoder.
        ValueError: it is one of tercet's, of another kind than ``kind``.
    """
    missing = [name for name in _METHODS if not hasattr(encoder, name)]
    if isinstance(encoder, type) or missing:
        found = f"the class {encoder.__name__}" if isinstance(encoder, type) else repr(type(encoder).__name__)
        raise TypeError(
            f"encoder: expected an object such as tercet.models.BiEncoder(...) or ColBERT(...), got {found}"
            + (f" without {', '.join(missing)}" if missing else "")
        )
    own = _KINDS.get(str(encoder.fingerprint().get("kind")))
    if kind is not None and own not in (None, kind):
        raise ValueError(f"kind: expected {own!r} for {type(encoder).__name__}, got {kind!r}")
    return own


def check_queries(query: Any) -> list[str]:
    """Return one query, or several, as a list; TypeError for what is no text, ValueError for an empty one."""
    if not isinstance(query, (str, list, tuple)):
        raise TypeError(f"query: expected str or a list of them, got {type(query).__name__}")
    queries = [query] if isinstance(query, str) else list(query)
    for i, text in enumerate(queries):
        if not isinstance(text, str):
            raise TypeError(f"query {i}: expected str, got {type(text).__name__}")
        if not text.strip():
            raise ValueError(f"query {i}: expected text, got {text!r}")
    return queries


def check_reranker(reranker: Any) -> None:
    """Raise TypeError unless an object is a reranker."""
    if isinstance(reranker, type) or not hasattr(reranker, "score"):
        raise TypeError(
            f"rerank: expected an object such as tercet.models.CrossEncoder(...), got {reranker!r}"
        )


def same_model(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Tell whether two fingerprints are of models that give the same vectors."""
    if "content" not in a or "content" not in b:
        return a == b
    if a["content"] == b["content"]:
        return True
    # An export holds other bytes than the weights it was made of, so that only vectors can be compared
    across = "probe" in a and "probe" in b and a.get("backend") != b.get("backend")
    return across and all(a.get(key) == b.get(key) for key in _SETTINGS) and _near(a["probe"], b["probe"])


def _near(a: list[float], b: list[float]) -> bool:
    """Tell whether two probes are as near as two backends come with the same weights."""
    if len(a) != len(b):
        return False
    return bool(np.linalg.norm(np.subtract(a, b)) <= _TOLERANCE * np.linalg.norm(b))


def describe(fingerprint: dict[str, Any]) -> str:
    """Return a fingerprint for people: kind, name and what else tells models apart, hashes abbreviated."""
    rest = {key: value for key, value in fingerprint.items() if key not in ("kind", "name", "probe")}
    details = ", ".join(f"{key} {str(value)[:12]}" for key, value in rest.items())
    name = f"{fingerprint.get('kind', 'model')} {fingerprint.get('name', '?')!r}"
    return f"{name} ({details})" if details else name


def load_recorded(fingerprint: dict[str, Any]) -> Encoder:
    """Load the model that a fingerprint names, with its backend if that is installed.

    Raises:
        ValueError: it is not one of tercet's own, so it has to be given.
        ImportError: its libraries are not installed.
    """
    from tercet import models
    from tercet.models.backend import recorded_backend

    kind, name = fingerprint.get("kind"), fingerprint.get("name")
    backend = recorded_backend(fingerprint.get("backend"), name)
    if kind == "BiEncoder":
        return models.BiEncoder(name, backend=backend, normalize=bool(fingerprint.get("normalize", True)))
    if kind == "ColBERT":
        return models.ColBERT(name, backend=backend)
    if kind == "ColBERT.from_biencoder":
        return models.ColBERT.from_biencoder(name, backend=backend)
    raise ValueError(f"cannot load {describe(fingerprint)} by itself; pass it as encoder=")
