"""What a retriever asks of a model, and how a recorded model is recognised and loaded again."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Encoder", "Reranker", "describe", "load_recorded", "same_model"]


class Encoder(Protocol):
    """:class:`tercet.models.BiEncoder`, :class:`tercet.models.ColBERT`, or an object of your own.

    ``encode_*`` return ``float32[n, dim]`` for ``kind="single"`` and token vectors (``TokenVectors`` or a
    list of ``[tokens, dim]``) for ``kind="multi"``. ``fingerprint`` returns a dict that JSON can hold and
    that is equal for equal models; with a key ``"content"``, that entry alone decides. For ``explain``,
    an encoder also has ``tokens(text, kind)`` with one string per vector.
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
    """:class:`tercet.models.CrossEncoder`, or an object of your own."""

    def score(self, query: str, texts: Any, /) -> Any:
        """Return one number per text, larger is better."""


def same_model(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Tell whether two fingerprints are of models that give the same vectors."""
    if "content" in a and "content" in b:
        return bool(a["content"] == b["content"])
    return a == b


def describe(fingerprint: dict[str, Any]) -> str:
    """Return a fingerprint for people: kind, name and what else tells models apart, hashes abbreviated."""
    rest = {key: value for key, value in fingerprint.items() if key not in ("kind", "name")}
    details = ", ".join(f"{key} {str(value)[:12]}" for key, value in rest.items())
    name = f"{fingerprint.get('kind', 'model')} {fingerprint.get('name', '?')!r}"
    return f"{name} ({details})" if details else name


def load_recorded(fingerprint: dict[str, Any]) -> Encoder:
    """Load the model that a fingerprint names.

    Raises:
        ValueError: it is not one of tercet's own, so it has to be given.
        ImportError: its libraries are not installed.
    """
    from tercet import models

    kind, name = fingerprint.get("kind"), fingerprint.get("name")
    if kind == "BiEncoder":
        return models.BiEncoder(name, normalize=bool(fingerprint.get("normalize", True)))
    if kind == "ColBERT":
        return models.ColBERT(name)
    if kind == "ColBERT.from_biencoder":
        return models.ColBERT.from_biencoder(name)
    raise ValueError(f"cannot load {describe(fingerprint)} by itself; pass it as encoder=")
