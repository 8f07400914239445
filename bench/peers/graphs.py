"""Approximate indexes of other libraries, as their documentation advises: inner product of unit vectors.

Each class builds in ``__init__(vectors, threads)``, answers ``search(queries, k, ef)`` with one thread and
ids ``[nq, k]``, and says in ``SETTINGS`` what it was given. ``size()`` is the bytes of its file, if any.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

__all__ = ["GRAPHS"]


def file_size(save: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "index")
        save(path)
        return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


class Hnswlib:
    M = 16
    SETTINGS = "M=16, ef_construction=200"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", vectors.shape[1])
        self._index.init_index(len(vectors), M=self.M, ef_construction=200)
        self._index.add_items(vectors, num_threads=threads)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        self._index.set_ef(ef)
        return self._index.knn_query(queries, k=k, num_threads=1)[0]

    def size(self) -> int:
        return self._index.index_file_size()


class Hnswlib32(Hnswlib):
    M = 32
    SETTINGS = "M=32, ef_construction=200"


class FaissHNSW:
    SETTINGS = "HNSW32, efConstruction=200"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self._faiss = faiss
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = 200
        self._index.add(vectors)
        faiss.omp_set_num_threads(1)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        self._index.hnsw.efSearch = ef
        return self._index.search(queries, k)[1]

    def size(self) -> int:
        return len(self._faiss.serialize_index(self._index))


class SymphonyQG:
    BITS = 8
    SETTINGS = "max_degree=32, 8 bits, ef_construction=200"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import rabitqlib

        self._index = rabitqlib.SymqgIndex(
            dim=vectors.shape[1], max_degree=32, metric="ip", quantization_bits=self.BITS
        )
        self._index.build(vectors, ef_construction=200, num_threads=threads)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        return self._index.search_batch(queries, k=k, ef=max(ef, k), num_threads=1)[0]

    def size(self) -> int:
        return file_size(self._index.save)


class SymphonyQGRaw(SymphonyQG):
    BITS = 0
    SETTINGS = "max_degree=32, float32, ef_construction=200"


class HnswRaBitQ:
    SETTINGS = "M=16, 1 + 8 bits, ef_construction=200, 16 clusters"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import rabitqlib

        means = rabitqlib.RaBitQKMeans(vectors.shape[1], 16, num_threads=threads, spherical=True)
        means.train(vectors)
        self._index = rabitqlib.HnswIndex(
            dim=vectors.shape[1], max_elements=len(vectors), M=16, ef_construction=200, nbits=9, metric="ip"
        )
        self._index.build(vectors, means.centroids, means.assignments, num_threads=threads)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        return self._index.search(queries, k=k, ef=max(ef, k), num_threads=1)[0]

    def size(self) -> int:
        return file_size(self._index.save)


class Glass:
    SETTINGS = "HNSW R=32 L=200, SQ8U built, SQ4U searched, FP32 refined"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import glass

        glass.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "graph")
            glass.Index("HNSW", "IP", "SQ8U", 32, 200).build(vectors).save(path)
            self._searcher = glass.Searcher(glass.Graph(path, "glass"), vectors, "IP", "SQ4U", "FP32")
        self._searcher.set_ef(64)
        self._searcher.optimize(1)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        self._searcher.set_ef(max(ef, k))
        return self._searcher.batch_search(queries, k, 1)[0]


class Usearch:
    SETTINGS = "bf16, connectivity=32, expansion_add=200"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        from usearch.index import Index

        self._index = Index(
            ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=32, expansion_add=200
        )
        self._index.add(np.arange(len(vectors)), vectors, threads=threads)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        self._index.expansion_search = ef
        return self._index.search(queries, k, threads=1).keys.reshape(len(queries), -1)

    def size(self) -> int:
        return self._index.serialized_length


class Voyager:
    SETTINGS = "M=16, ef_construction=200"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import voyager

        self._index = voyager.Index(
            voyager.Space.InnerProduct,
            num_dimensions=vectors.shape[1],
            M=16,
            ef_construction=200,
            max_elements=len(vectors),
        )
        self._index.add_items(vectors, num_threads=threads)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        return self._index.query(queries, k=k, query_ef=max(ef, k), num_threads=1)[0]


class Kannolo:
    SETTINGS = "m=32, ef_construction=200, permuted graph, RaBitQ of 4 bits, float16 reranked"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        import kannolo

        self._index = kannolo.DenseRerankHNSW.build_from_array(
            vectors.ravel(),
            dim=vectors.shape[1],
            m=32,
            ef_construction=200,
            metric="dotproduct",
            graph_type="permuted",
            encoder="rabitq-ext",
            rabitq_total_bits=4,
        )

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        found = self._index.batch_search(
            queries.ravel(), k=k, k_candidates=max(k, min(ef, 4 * k)), ef_search=ef, num_threads=1
        )
        return found[1].reshape(len(queries), k)

    def size(self) -> int:
        return self._index.space_usage_bytes()


class Tercet:
    M = 16
    SETTINGS = "m=16, ef_construction=100, int8 codes, float32 rescored"

    def __init__(self, vectors: np.ndarray, threads: int) -> None:
        import tercet

        self._index = tercet.HNSWIndex(vectors.shape[1], metric="cosine", m=self.M)
        self._index.add(vectors, threads=threads)

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        return self._index.search(queries, k, ef=ef, threads=1).ids

    def size(self) -> int:
        return file_size(self._index.save)


class Tercet24(Tercet):
    M = 24
    SETTINGS = "m=24, ef_construction=100, int8 codes, float32 rescored"


GRAPHS: dict[str, Any] = {
    "tercet": Tercet,
    "tercet m=24": Tercet24,
    "hnswlib M=16": Hnswlib,
    "hnswlib M=32": Hnswlib32,
    "faiss HNSW32": FaissHNSW,
    "SymphonyQG 8-bit": SymphonyQG,
    "SymphonyQG raw": SymphonyQGRaw,
    "HNSW-RaBitQ 1+8": HnswRaBitQ,
    "glass": Glass,
    "usearch bf16": Usearch,
    "voyager": Voyager,
    "kannolo": Kannolo,
}
