"""Models without a model: hashed bags of words, the same everywhere."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.explain import Token

DIM = 32


@functools.cache
def word_vector(word: str) -> npt.NDArray[np.float32]:
    """A unit vector that a word alone decides."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def words(text: str) -> list[str]:
    return [Token("[CLS]", "special"), *text.lower().split()]


class BagOfWords:
    """A bi-encoder: the mean of word vectors."""

    dim = DIM

    def __init__(self, name: str = "bag") -> None:
        self.name = name

    def encode_query(self, texts: Any) -> npt.NDArray[np.float32]:
        rows = np.stack([np.sum([word_vector(w) for w in words(t)], axis=0) for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    encode_document = encode_query

    def fingerprint(self) -> dict[str, Any]:
        return {"kind": "fake", "name": self.name, "dim": DIM}


class WordVectors(BagOfWords):
    """A late-interaction model: one vector per word."""

    def encode_query(self, texts: Any) -> Any:
        return [np.stack([word_vector(w) for w in words(t)]) for t in texts]

    encode_document = encode_query

    def tokens(self, text: str, kind: str = "query") -> list[str]:
        return words(text)


class LongestFirst:
    """A reranker that likes long texts."""

    def score(self, query: str, texts: Any) -> npt.NDArray[np.float32]:
        return np.array([len(t) / 1000 for t in texts], np.float32)
