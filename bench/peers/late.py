"""Late-interaction indexes as their documentation advises: ours, those of other libraries, and brute force.

Each class imports its library in ``__init__``, writes an index of token vectors with ``build(tokens, folder,
threads)``, and in another process takes it with ``open(folder, tokens, threads)`` and answers ``search(query,
k, **settings)`` with positions of documents, best first. ``SEARCHES`` names the settings, from fast to good;
``BUILT`` says what the index was given. ``tokens`` is a :class:`token_files.Tokens`, mapped.

How to install what is not on a machine of Python 3.11 and glibc 2.36 with a ``pip install`` of its name:

    fast-plaid, xtr-warp   pip install torch==2.11.0 fast-plaid==1.7.0.2110 xtr-warp-rs==2.1.0.2110
                           (exactly that torch; a build for CUDA, since xtr-warp links libc10_cuda)
    tachiom                pip download --no-deps --only-binary=:all: --python-version 3.11 \\
                             --platform manylinux_2_39_x86_64 tachiom==0.4.0, unzipped into site-packages
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from token_files import Tokens

__all__ = ["CONTENDERS"]

Settings = dict[str, dict[str, Any]]
PART = 2_000_000  # tokens added at once, where there are more


class Tercet:
    """Asked at those settings that the installed version has."""

    EVERY: ClassVar[Settings] = {
        "candidates=32": {"candidates": 32},
        "candidates=64": {"candidates": 64},
        "candidates=128": {"candidates": 128},
        "default": {},
        "candidates=512": {"candidates": 512},
        "candidates=1024": {"candidates": 1024},
        "candidates=4096": {"candidates": 4096},
        "exact": {"exact": True},
    }
    BUILT = f"parts of {PART:,} tokens"

    def __init__(self, codec: str) -> None:
        import tercet

        self._tercet, self._codec, self._threads = tercet, codec, 1
        self.version = f"tercet {tercet.__version__}"
        known = inspect.signature(tercet.MultiVectorIndex.search).parameters
        self.SEARCHES = {name: given for name, given in self.EVERY.items() if given.keys() <= known.keys()}

    def build(self, tokens: Tokens, folder: Path, threads: int) -> None:
        """In parts; the centroids of residuals are trained on as many tokens from everywhere."""
        index = self._tercet.MultiVectorIndex(tokens.values.shape[1], codec=self._codec)
        if self._codec.startswith("residual") and len(tokens.values) > PART:
            index.train(self._vectors(self._sample(tokens)), threads=threads)
        for part in tokens.parts(PART):
            index.add(self._vectors(part), threads=threads)
        index.save(folder / "index")

    def _vectors(self, part: Tokens) -> Any:
        return self._tercet.TokenVectors(part.values, part.offsets)

    @staticmethod
    def _sample(tokens: Tokens) -> Tokens:
        """Documents from everywhere, about PART tokens."""
        step = -(-len(tokens.values) // PART)
        chosen = [tokens[i] for i in range(0, len(tokens), step)]
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in chosen])])
        return Tokens(np.concatenate(chosen), offsets)

    def open(self, folder: Path, tokens: Tokens, threads: int) -> None:
        self._index, self._threads = self._tercet.open(folder / "index"), threads

    def search(self, query: np.ndarray, k: int, **settings: Any) -> list[int]:
        return self._index.search(query, k, threads=self._threads, **settings).ids[0].tolist()


class FastPlaid:
    # Of 571,171 tokens, 16 and 32 probes took 2 and 4 times as long as 8, and found no more.
    SEARCHES: ClassVar[Settings] = {
        "probe 2, 512 full": {"n_ivf_probe": 2, "n_full_scores": 512},
        "probe 4, 1024 full": {"n_ivf_probe": 4, "n_full_scores": 1024},
        "probe 8, 4096 full (default)": {"n_ivf_probe": 8, "n_full_scores": 4096},
    }
    BUILT = "nbits=4, kmeans_niters=4"

    def __init__(self) -> None:
        import torch
        from fast_plaid import search

        self._torch, self._open = torch, partial(search.FastPlaid, device="cpu")
        self.version = f"fast-plaid {version('fast-plaid')}, torch {torch.__version__}"

    def build(self, tokens: Tokens, folder: Path, threads: int) -> None:
        self._torch.set_num_threads(threads)
        documents = [self._torch.from_numpy(tokens[i]) for i in range(len(tokens))]
        self._open(index=str(folder / "index")).create(documents_embeddings=documents, nbits=4)

    def open(self, folder: Path, tokens: Tokens, threads: int) -> None:
        self._torch.set_num_threads(threads)
        self._index = self._open(index=str(folder / "index"))

    def search(self, query: np.ndarray, k: int, **settings: Any) -> list[int]:
        asked = [self._torch.from_numpy(query)]
        found = self._index.search(asked, top_k=k, show_progress=False, n_processes=1, **settings)
        return [i for i, _ in found[0]]


class XTRWarp:
    SEARCHES: ClassVar[Settings] = {
        "automatic (default)": {},
        "nprobe 8, bound 128": {"nprobe": 8, "bound": 128},
        "nprobe 16, bound 256": {"nprobe": 16, "bound": 256},
        "nprobe 32, bound 512, no threshold": {
            "nprobe": 32,
            "bound": 512,
            "centroid_score_threshold": 0.0,
        },
        "nprobe 128, bound 2048, no threshold": {
            "nprobe": 128,
            "bound": 2048,
            "centroid_score_threshold": 0.0,
        },
    }
    BUILT = "nbits=4, kmeans_niters=4"

    def __init__(self) -> None:
        import torch
        from xtr_warp import XTRWarp as Index

        self._torch, self._open, self._threads = torch, Index, 1
        self.version = f"xtr-warp-rs {version('xtr-warp-rs')}, torch {torch.__version__}"

    def build(self, tokens: Tokens, folder: Path, threads: int) -> None:
        self._torch.set_num_threads(threads)
        documents = [self._torch.from_numpy(tokens[i]) for i in range(len(tokens))]
        index = self._open(index=str(folder / "index"))
        index.create(embeddings_source=documents, device="cpu", nbits=4, show_progress=False)

    def open(self, folder: Path, tokens: Tokens, threads: int) -> None:
        self._torch.set_num_threads(threads)
        self._index, self._threads = self._open(index=str(folder / "index")), threads
        self._index.load(device="cpu", dtype=self._torch.float32)

    def search(self, query: np.ndarray, k: int, **settings: Any) -> list[int]:
        asked = self._torch.from_numpy(query[None])
        found = self._index.search(asked, top_k=k, num_threads=self._threads, show_progress=False, **settings)
        return [i for i, _ in found[0]]


class Tachiom:
    # Of 571,171 tokens, 320 centroids took 2.5 times as long as 80, and found no more.
    SEARCHES: ClassVar[Settings] = {
        "10 centroids, 100 documents": {"k_centroids": 10, "k_docs_to_score": 100, "ef_search": 15},
        "20 centroids, 500 documents (default)": {"k_centroids": 20, "k_docs_to_score": 500, "ef_search": 30},
        "40 centroids, 1000 documents": {"k_centroids": 40, "k_docs_to_score": 1000, "ef_search": 60},
        "80 centroids, 4000 documents, no alpha": {
            "k_centroids": 80,
            "k_docs_to_score": 4000,
            "ef_search": 120,
            "alpha": None,
        },
    }
    BUILT = "automatic parameters"

    def __init__(self) -> None:
        import tachiom

        self._library = tachiom.Tachiom
        self.version = f"tachiom {version('tachiom')}"

    def build(self, tokens: Tokens, folder: Path, threads: int) -> None:
        halves = np.asarray(tokens.values, np.float16).view(np.uint16)
        lengths = tokens.lengths.astype(np.int32)
        index = self._library.build_from_arrays(halves, np.asarray(tokens.vocabulary), lengths)
        index.save(str(folder / "index"))

    def open(self, folder: Path, tokens: Tokens, threads: int) -> None:
        self._index = self._library.load(str(folder / "index"))

    def search(self, query: np.ndarray, k: int, **settings: Any) -> list[int]:
        """One query is one thread's work here, however many there are."""
        return self._index.search(query, k, **settings)[1].tolist()


class BruteForce:
    """float32, every document; those of equal length are one array, so that the maximum needs no padding."""

    SEARCHES: ClassVar[Settings] = {"float32": {}}
    BUILT = "documents sorted by length"

    def build(self, tokens: Tokens, folder: Path, threads: int) -> None:
        pass

    def open(self, folder: Path, tokens: Tokens, threads: int) -> None:
        lengths = tokens.lengths
        order = np.argsort(lengths, kind="stable")
        self._order = order[lengths[order] > 0]
        counts = np.bincount(lengths)
        self._groups = []
        first = int(counts[0])
        for length in np.flatnonzero(counts[1:]) + 1:
            group = order[first : first + counts[length]]
            rows = np.empty((len(group) * length, tokens.values.shape[1]), np.float32)
            for i, document in enumerate(group):
                rows[i * length : (i + 1) * length] = tokens[document]
            self._groups.append((rows, len(group), int(length)))
            first += len(group)


class Numpy(BruteForce):
    def __init__(self) -> None:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        self.version = f"numpy {np.__version__} ({blas['name']} {blas['version']})"

    def search(self, query: np.ndarray, k: int) -> list[int]:
        transposed = np.ascontiguousarray(query.T)
        scores = np.concatenate(
            [
                (rows @ transposed).reshape(texts, length, -1).max(1).sum(1)
                for rows, texts, length in self._groups
            ]
        )
        best = np.argpartition(scores, -k)[-k:]
        return self._order[best[np.argsort(-scores[best])]].tolist()


class Torch(BruteForce):
    def __init__(self) -> None:
        import torch

        self._torch = torch
        self.version = f"torch {torch.__version__}"

    def open(self, folder: Path, tokens: Tokens, threads: int) -> None:
        self._torch.set_num_threads(threads)
        super().open(folder, tokens, threads)
        self._groups = [(self._torch.from_numpy(rows), texts, n) for rows, texts, n in self._groups]

    def search(self, query: np.ndarray, k: int) -> list[int]:
        transposed = self._torch.from_numpy(query).T
        scores = self._torch.cat(
            [
                (rows @ transposed).reshape(texts, length, -1).amax(1).sum(1)
                for rows, texts, length in self._groups
            ]
        )
        return self._order[scores.topk(k).indices.numpy()].tolist()


CONTENDERS: dict[str, Callable[[], Any]] = {
    **{f"tercet {codec}": partial(Tercet, codec) for codec in ("int8", "int4", "residual2", "residual1")},
    "fast-plaid": FastPlaid,
    "xtr-warp": XTRWarp,
    "tachiom": Tachiom,
    "torch": Torch,
    "numpy": Numpy,
}
