"""Encode a collection, ask every query of every arm, one at a time, and measure."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tercet.chain import Stopping
from tercet.compare.arms import BEST, Arm, Indexes, Query, StageName
from tercet.compare.beir import Folder
from tercet.compare.measures import ndcg, recall
from tercet.documents import Document
from tercet.encoders import Encoder, Reranker
from tercet.facts import machine_facts
from tercet.indexes import FlatIndex, MultiVectorIndex
from tercet.indexes.base import Codec, TokenCodec
from tercet.progress import Progress

__all__ = ["FOUND", "Comparison", "Measured", "Models", "make_arms", "measure", "measure_all"]

FOUND = 100  # documents that every arm returns, for recall
_SLAB = 256  # documents encoded at a time
_SAMPLE = 1024  # documents to train a codec on


class Models(NamedTuple):
    """The models of the stages; None where no arm has that stage."""

    bi: Encoder | None
    colbert: Encoder | None
    ce: Reranker | None


class Measured(NamedTuple):
    """One arm, query by query.

    Attributes:
        arm: what was measured.
        ndcg: nDCG@10, ``[queries]``.
        recall: recall@100, ``[queries]``.
        encoding_ms: encoding the query with the models that find or compare vectors, ``[queries]``.
        ms: of the whole call, encoding included, ``[queries]``.
        read: texts that the cross-encoder read, ``[queries]``.
        bytes: of the vectors, per document.
    """

    arm: Arm
    ndcg: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    encoding_ms: npt.NDArray[np.float64]
    ms: npt.NDArray[np.float64]
    read: npt.NDArray[np.float64]
    bytes: float


class Comparison(NamedTuple):
    """All arms on one collection.

    Attributes:
        folder: the collection.
        measured: in the order in which the arms were given.
        models: what each stage is, for people.
        machine: what ran it, for people.
        seconds: of encoding all documents, by stage.
    """

    folder: Folder
    measured: list[Measured]
    models: dict[str, str]
    machine: str
    seconds: dict[str, float]


def make_arms(
    chosen: Sequence[tuple[StageName, ...]],
    depths: Sequence[int],
    reranker: Reranker | None,
    stopping: Stopping | None,
) -> list[Arm]:
    """Return the arms, and after each that ends in a cross-encoder one that stops early, if that is wanted.

    Args:
        chosen: stages of each.
        depths: candidates that the first reranking stage reads, the second, ...; the last number is repeated.
        reranker: the cross-encoder.
        stopping: when it reads no further, in the arms that are added.
    """
    arms = []
    for stages in chosen:
        own = tuple(depths[min(i, len(depths) - 1)] for i in range(len(stages) - 1))
        arms.append(Arm("+".join(stages), stages, own, reranker))
        if stopping is not None and stages[-1] == "ce":
            arms.append(Arm(f"{arms[-1].name} stop {stopping.margin:g}", stages, own, reranker, stopping))
    return arms


def measure_all(
    folder: Folder,
    arms: Sequence[Arm],
    models: Models,
    *,
    codec: Codec = "float32",
    token_codec: TokenCodec = "int4",
    quiet: bool = False,
) -> Comparison:
    """Compare.

    Args:
        folder: the collection.
        arms: what to compare; the first is what the others are compared with.
        models: those that the arms need.
        codec: of the vectors of the bi-encoder.
        token_codec: of the token vectors.
        quiet: no progress on stderr.
    """
    documents = folder.collection.documents
    seconds: dict[str, float] = {}
    described: dict[str, str] = {}
    pooled = FlatIndex(1 if models.bi is None else models.bi.dim, codec=codec)
    tokens = MultiVectorIndex(1 if models.colbert is None else models.colbert.dim, codec=token_codec)
    if models.bi is not None:
        described["bi"] = _described(models.bi, codec)
        seconds["bi"] = _encode(models.bi, documents, pooled.add, "encoding (bi)", quiet)
    if models.colbert is not None:
        described["colbert"] = _described(models.colbert, token_codec)
        _train(tokens, models.colbert, documents)
        seconds["colbert"] = _encode(models.colbert, documents, tokens.add, "encoding (colbert)", quiet)
    if models.ce is not None:
        described["ce"] = _described_reranker(models.ce)
    on = Indexes(pooled, tokens, [document.content for document in documents])
    measured = [measure(arm, folder, on, models, quiet=quiet) for arm in arms]
    return Comparison(folder, measured, described, _machine(), seconds)


def measure(arm: Arm, folder: Folder, on: Indexes, models: Models, *, quiet: bool = False) -> Measured:
    """Ask all queries of one arm, each in a call of its own, and the first once more before, to warm up."""
    collection = folder.collection
    ids = [document.id for document in collection.documents]
    asked = list(collection.queries.items())
    _answer(arm, asked[0][1], on, models)
    rows = []
    with Progress(arm.name, len(asked), quiet=quiet) as progress:
        for done, (name, text) in enumerate(asked, 1):
            places, read, encoding, whole = _answer(arm, text, on, models)
            ranking, grades = [ids[place] for place in places], collection.grades[name]
            rows.append((ndcg(ranking, grades, BEST), recall(ranking, grades, FOUND), encoding, whole, read))
            progress(done)
    quality, found, encoding_ms, ms, texts = np.array(rows, np.float64).T
    return Measured(arm, quality, found, encoding_ms, ms, texts, arm.stored(on) / len(ids))


def _answer(arm: Arm, text: str, on: Indexes, models: Models) -> tuple[list[int], int, float, float]:
    """Return places, texts read, and the milliseconds of encoding the query and of everything."""
    start = time.perf_counter()
    pooled = tokens = None
    if models.bi is not None and "bi" in arm.stages:
        pooled = models.bi.encode_query([text])
    if models.colbert is not None and "colbert" in arm.stages:
        tokens = models.colbert.encode_query([text])
    encoded = time.perf_counter()
    places, read = arm.search(Query(text, pooled, tokens), on, FOUND)
    end = time.perf_counter()
    return places, read, 1e3 * (encoded - start), 1e3 * (end - start)


def _encode(
    encoder: Encoder, documents: Sequence[Document], add: Callable[[Any], object], label: str, quiet: bool
) -> float:
    """Encode the documents and store their vectors, in order; return the seconds."""
    start = time.perf_counter()
    with Progress(label, len(documents), quiet=quiet) as progress:
        for first in range(0, len(documents), _SLAB):
            part = documents[first : first + _SLAB]
            add(encoder.encode_document([document.content for document in part]))
            progress(first + len(part))
    return time.perf_counter() - start


def _train(index: MultiVectorIndex, encoder: Encoder, documents: Sequence[Document]) -> None:
    """Train a codec that has to be, on documents from all over the collection."""
    if not index.trained:
        sample = documents[:: -(-len(documents) // _SAMPLE)]
        index.train(encoder.encode_document([document.content for document in sample]))


def _described(encoder: Encoder, codec: str) -> str:
    """Return what there is to say of a model and how its vectors are stored."""
    facts = encoder.fingerprint()
    length = facts.get("max_length")
    read = f", at most {length} tokens" if length else ""
    return f"{facts.get('kind')} {facts.get('name')}{read}, {encoder.dim} dimensions stored as {codec}"


def _described_reranker(reranker: Any) -> str:
    facts = [type(reranker).__name__, str(getattr(reranker, "name", ""))]
    length = getattr(reranker, "max_length", None)
    facts += [f"at most {length} tokens,"] if length else []
    return " ".join([*facts, str(getattr(reranker, "precision", ""))]).strip(" ,")


def _machine() -> str:
    """Return the level of instructions, threads and versions, in a line."""
    facts = machine_facts()
    threads = f"threads: tercet {facts['threads']}"
    torch = sys.modules.get("torch")  # which a stage may have loaded; the numbers are for its threads too
    if torch is not None:
        threads += f", torch {torch.get_num_threads()}"
    names = ("tercet", "python", "numpy", "sentence-transformers", "transformers", "torch")
    versions = ", ".join(f"{name} {facts[name]}" for name in names if facts[name] != "not installed")
    return f"{platform.machine()} {facts['isa']}, {threads}; {versions}"
