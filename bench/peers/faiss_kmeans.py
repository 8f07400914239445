"""faiss Kmeans: flat, so every vector is compared with every centroid."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
VERSION = f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()})"


def train(vectors: np.ndarray, centroids: int, iterations: int) -> Callable[[], np.ndarray]:
    """Return the centroids, trained on all vectors."""

    def run() -> np.ndarray:
        dim, most = vectors.shape[1], len(vectors)
        # without a sample of its own; it warns below 39 vectors for each centroid
        kmeans = faiss.Kmeans(
            dim, centroids, niter=iterations, seed=0, max_points_per_centroid=most, min_points_per_centroid=1
        )
        kmeans.train(vectors)
        return kmeans.centroids

    return run
