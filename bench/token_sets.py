"""Token vectors to compare codecs on: random ones, those of a collection, and those in fewer dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tercet
from bench_quality import Collection, encode, read_collection
from harness.data import texts

SMALL = 128  # dimensions
FITTED = 100_000  # tokens that a projection is fitted on
QUERY_TOKENS = 32
CHUNK = 100_000  # vectors of a part


class TokenSet(NamedTuple):
    """Queries and documents of one dimension, and the collection they are from, if any."""

    name: str
    queries: tercet.TokenVectors
    documents: tercet.TokenVectors
    collection: Collection | None = None


def parts(tokens: tercet.TokenVectors) -> Iterator[tercet.TokenVectors]:
    """Cut documents into runs of about CHUNK vectors."""
    offsets, first = tokens.offsets, 0
    while first < len(tokens):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + CHUNK, "right")) - 1)
        rows = tokens.values[offsets[first] : offsets[last]]
        yield tercet.TokenVectors(rows, offsets[first : last + 1] - offsets[first])
        first = last


def isotropic() -> TokenSet:
    inputs = texts(SMALL, np.full(1000, 100), queries=50, tokens=QUERY_TOKENS)
    queries = inputs.query.reshape(-1, SMALL)
    starts = np.arange(0, len(queries) + 1, QUERY_TOKENS)
    name = f"isotropic unit vectors, {SMALL} dimensions"
    return TokenSet(
        name, tercet.TokenVectors(queries, starts), tercet.TokenVectors(inputs.values, inputs.offsets)
    )


def projected(tokens: TokenSet) -> TokenSet:
    """Reduce to SMALL dimensions. The origin stays where it is, as inner products want it."""
    values = tokens.documents.values
    chosen = np.random.default_rng(0).permutation(len(values))[:FITTED]
    fitted = values[np.sort(chosen)]
    axes = np.linalg.eigh(fitted.T @ fitted)[1][:, : -SMALL - 1 : -1]

    def project(given: tercet.TokenVectors) -> tercet.TokenVectors:
        rows = given.values @ axes
        return tercet.TokenVectors(rows / np.linalg.norm(rows, axis=1, keepdims=True), given.offsets)

    name = f"{tokens.name.rsplit(',', 1)[0]}, projected to {SMALL} dimensions"
    return TokenSet(name, project(tokens.queries), project(tokens.documents), tokens.collection)


def collection_tokens(folder: Path, cache: Path) -> TokenSet:
    collection = read_collection(folder, folder / "qrels" / "test.tsv")
    vectors = encode(collection, cache)
    documents = vectors.document_tokens
    name = f"{folder.name}, {len(documents):,} documents, {len(documents.values):,} token vectors, "
    return TokenSet(name + f"{documents.dim} dimensions", vectors.query_tokens, documents, collection)
