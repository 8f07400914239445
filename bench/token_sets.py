"""Token vectors to compare codecs and indexes on: random ones, those of collections, in fewer dimensions, in
larger numbers. Those of bench_multivector.py are kept as files (token_files.py), and never whole in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tercet
import token_files
from bench_quality import MAX_TOKENS, Collection, encode, read_collection
from harness.data import texts
from token_files import Tokens, TokenWriter

SMALL = 128  # dimensions
FITTED = 100_000  # tokens that a projection is fitted on
QUERY_TOKENS = 32
CHUNK = 100_000  # vectors of a part
SLAB = 2048  # texts encoded at a time
NOISE = 0.2  # length of what is added to the vectors of copies; their cosine with the original is 0.98
FULL_STOP = 1012  # in BERT's vocabulary, uncased


class TokenSet(NamedTuple):
    """Queries and documents of one dimension, and the collection they are from, if any."""

    name: str
    queries: tercet.TokenVectors
    documents: tercet.TokenVectors
    collection: Collection | None = None


def parts(tokens: tercet.TokenVectors) -> Iterator[tercet.TokenVectors]:
    """Cut documents into runs of about CHUNK vectors."""
    for part in Tokens(tokens.values, tokens.offsets).parts(CHUNK):
        yield tercet.TokenVectors(part.values, part.offsets)


def isotropic() -> TokenSet:
    inputs = texts(SMALL, np.full(1000, 100), queries=50, tokens=QUERY_TOKENS)
    queries = inputs.query.reshape(-1, SMALL)
    starts = np.arange(0, len(queries) + 1, QUERY_TOKENS)
    name = f"isotropic unit vectors, {SMALL} dimensions"
    return TokenSet(
        name, tercet.TokenVectors(queries, starts), tercet.TokenVectors(inputs.values, inputs.offsets)
    )


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def directions(values: np.ndarray) -> np.ndarray:
    """Return the SMALL directions of largest second moment, of a sample: ``[dim, SMALL]``.

    The origin stays where it is, as inner products want it.
    """
    chosen = np.random.default_rng(0).permutation(len(values))[:FITTED]
    fitted = values[np.sort(chosen)].astype(np.float32)
    return np.linalg.eigh(fitted.T @ fitted)[1][:, : -SMALL - 1 : -1]


def projected(tokens: TokenSet) -> TokenSet:
    """Reduce to SMALL dimensions."""
    axes = directions(tokens.documents.values)

    def project(given: tercet.TokenVectors) -> tercet.TokenVectors:
        return tercet.TokenVectors(unit(given.values @ axes), given.offsets)

    name = f"{tokens.name.rsplit(',', 1)[0]}, projected to {SMALL} dimensions"
    return TokenSet(name, project(tokens.queries), project(tokens.documents), tokens.collection)


def collection_tokens(folder: Path, cache: Path) -> TokenSet:
    collection = read_collection(folder, folder / "qrels" / "test.tsv")
    vectors = encode(collection, cache)
    documents = vectors.document_tokens
    name = f"{folder.name}, {len(documents):,} documents, {len(documents.values):,} token vectors, "
    return TokenSet(name + f"{documents.dim} dimensions", vectors.query_tokens, documents, collection)


def collection_files(folder: Path, cache: Path) -> Path:
    """Return where the token vectors of a collection are; those of bench_quality.py serve as they are."""
    collection = read_collection(folder, folder / "qrels" / "test.tsv")
    home = cache / collection.fingerprint
    if not all(token_files.complete(home, kind) for kind in ("queries", "documents")):
        _encode(collection, home)
    if not (home / "documents_vocabulary.npy").exists():
        _number_words(collection, home)
    position = {name: str(i) for i, name in enumerate(collection.document_ids)}
    grades = [collection.grades[query] for query in collection.query_ids]
    known = [{position[d]: grade for d, grade in graded.items() if d in position} for graded in grades]
    token_files.write_grades(home, known)
    return home


def _model() -> Any:
    from tercet.models import BiEncoder  # here, since what is in the cache takes neither torch nor a model

    model = BiEncoder()
    model.model.max_seq_length = MAX_TOKENS
    return model


def _encode(collection: Collection, home: Path) -> None:
    from tercet.models import ColBERT

    model = ColBERT.from_biencoder(_model())
    kinds = (
        ("queries", model.encode_query, collection.queries),
        ("documents", model.encode_document, collection.documents),
    )
    for kind, encoder, listed in kinds:
        with TokenWriter(home, kind, model.dim) as out:
            for first in range(0, len(listed), SLAB):
                tokens = encoder(listed[first : first + SLAB])
                out.add(Tokens(tokens.values, tokens.offsets))
                print(f"{kind}: {min(first + SLAB, len(listed)):,} of {len(listed):,} encoded", flush=True)


def _number_words(collection: Collection, home: Path) -> None:
    tokenizer = _model().model.tokenizer
    words = tokenizer(collection.documents, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    lengths = token_files.read(home, "documents").lengths
    if [len(one) for one in words] != lengths.tolist():
        raise RuntimeError(f"{home}: documents have other numbers of tokens than this tokenizer gives them")
    np.save(home / "documents_vocabulary.npy", np.concatenate(words).astype(np.uint32))


def reduced_files(home: Path) -> Path:
    """Return where a set is in SMALL dimensions, made if it is not there: see :func:`directions`."""
    out = home / f"dim{SMALL}"
    documents = token_files.read(home, "documents")
    if not token_files.complete(out, "documents"):
        axes = directions(documents.values)
        for kind, tokens in (("queries", token_files.read(home, "queries")), ("documents", documents)):
            with TokenWriter(out, kind, SMALL, vocabulary=kind == "documents") as writer:
                for part in tokens.parts(CHUNK):
                    writer.add(Tokens(unit(part.values @ axes), part.offsets, part.vocabulary))
    token_files.write_grades(out, token_files.read_grades(home))
    return out


def grown_files(sources: Sequence[Path], tokens: int, cache: Path) -> Path:
    """Return where a set of about ``tokens`` token vectors is that were grown from the sources.

    First come the documents of all sources as they are, and their queries keep their answers. Then come
    copies of the sources in turn, until there are enough tokens. A copy has as many documents and vectors as
    its source, of which it

    * cuts each document into sentences, which end with a full stop or with the document,
    * puts all sentences in random order, deals them out to documents that have, in random order, as many
      sentences as those of the source,
    * adds to every vector Gaussian noise that is NOISE long on average, and scales it to length 1.

    So the vectors stay near real ones, as many of a word as there are in real texts, and neighbours within a
    sentence stay neighbours; but a document is about as many things as it has sentences, which makes it a
    distractor that is easier to tell from an answer than a real one. Copy c is made with the seed c.
    """
    names = "+".join(f"{home.parent.name}-{home.name}" for home in sources)
    out = cache / f"grown-{hashlib.sha256(names.encode()).hexdigest()[:16]}-{tokens}"
    if token_files.complete(out, "documents"):
        return out
    documents = [token_files.read(home, "documents") for home in sources]
    dim, grades, before = documents[0].values.shape[1], [], 0
    with TokenWriter(out, "queries", dim) as writer:
        for home, source in zip(sources, documents, strict=True):
            writer.add(token_files.read(home, "queries"))
            for graded in token_files.read_grades(home):
                grades.append({str(int(i) + before): grade for i, grade in graded.items()})
            before += len(source)
    token_files.write_grades(out, grades)
    with TokenWriter(out, "documents", dim, vocabulary=True) as writer:
        for source in documents:
            for part in source.parts(CHUNK):
                writer.add(part)
        copy = 0
        while writer.written < tokens:
            copy += 1
            for part in _recombined(documents[(copy - 1) % len(documents)], copy):
                writer.add(part)
                if writer.written >= tokens:
                    break
    return out


def _recombined(source: Tokens, seed: int) -> Iterator[Tokens]:
    """Yield one copy of a source in parts; see :func:`grown_files`."""
    assert source.vocabulary is not None
    rng = np.random.default_rng(seed)
    stops = np.flatnonzero(source.vocabulary == FULL_STOP) + 1
    # [SEP] is no sentence of its own
    ends = np.union1d(np.setdiff1d(stops, source.offsets[1:] - 1), source.offsets[1:])
    starts = np.concatenate([[0], ends[:-1]])
    sentences = np.diff(np.searchsorted(ends, source.offsets, "right"))  # of each document
    order = rng.permutation(len(ends))
    starts, lengths = starts[order], (ends - starts)[order]
    bounds = np.concatenate([[0], np.cumsum(rng.permutation(sentences))])
    offsets = np.concatenate([[0], np.cumsum(lengths)])  # of the dealt sentences, in tokens
    # A text of these Tokens is a document, a row is the number of one of the source's
    rows = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    for part in Tokens(rows, offsets[bounds]).parts(CHUNK):
        near = source.values[part.values].astype(np.float32)
        near += rng.standard_normal(near.shape, np.float32) * (NOISE / np.sqrt(near.shape[1]))
        yield Tokens(unit(near), part.offsets, source.vocabulary[part.values])
