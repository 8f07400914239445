"""Codebooks: k-means that gives the same bits everywhere, and is as good as the slow, obvious one."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from levels import run_under, same_bits
from tercet import _core

Array = npt.NDArray[np.float32]
Book = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16], npt.NDArray[np.uint32]]
NAMES = ("codes", "scales", "offsets", "ids")


def clustered(n: int, dim: int, clusters: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    centers = random.standard_normal((clusters, dim))
    noise = 0.4 * random.standard_normal((n, dim))
    return (centers[random.integers(clusters, size=n)] + noise).astype(np.float32)


def decode(book: Book) -> Array:
    codes, scales, _ = book
    return reference.widen(scales)[:, None] * (codes.astype(np.float32) - 128)


def squared_distances(vectors: Array, centroids: Array) -> npt.NDArray[np.float64]:
    """float64[n, k], not below zero."""
    cross = reference.exact_dot(vectors, centroids)
    squares = reference.squared_norms(vectors)[:, None] + reference.squared_norms(centroids)[None, :]
    return np.maximum(squares - 2 * cross, 0)


def lloyd(vectors: Array, k: int, iterations: int, seed: int) -> Array:
    """Plain k-means: random vectors to begin with, then nearest and mean by turns."""
    random = np.random.default_rng(seed)
    centroids = vectors[random.choice(len(vectors), k, replace=False)]
    for _ in range(iterations):
        ids = squared_distances(vectors, centroids).argmin(axis=1)
        for c in range(k):
            if np.any(ids == c):
                centroids[c] = vectors[ids == c].mean(axis=0)
    return centroids


def error(vectors: Array, centroids: Array) -> float:
    return float(squared_distances(vectors, centroids).min(axis=1).mean())


def test_error_is_that_of_plain_kmeans() -> None:
    vectors = clustered(5000, 32, 100, 1)
    plain = [error(vectors, lloyd(vectors, 64, 10, seed)) for seed in range(5)]
    ours = [error(vectors, decode(_core.train_codebook(vectors, 64, 10, seed, 1))) for seed in range(5)]
    assert np.mean(ours) <= 1.05 * np.mean(plain)


def test_vectors_go_to_the_nearest_centroid() -> None:
    vectors = clustered(6000, 24, 200, 2)
    for k in (64, 4500):  # searched all, and in two levels
        book = _core.train_codebook(vectors, k, 3, 0, 2)
        squared = squared_distances(vectors, decode(book))
        ids = _core.assign(*book, vectors, 2)
        got = np.sqrt(squared[np.arange(len(ids)), ids])
        best = np.sqrt(squared.min(axis=1))
        near = got <= 1.01 * best + 1e-2  # vectors are rounded too
        assert near.mean() >= 0.99


@cache
def results_at(isa: str, threads: int) -> dict[str, npt.NDArray[np.uint16]]:
    code = """if True:
        import test_codebook
        results = test_codebook.results()
    """
    return run_under(isa, code, threads)


def results() -> dict[str, npt.NDArray[np.generic]]:
    found: dict[str, npt.NDArray[np.generic]] = {}
    for n, dim, k in [(6000, 33, 4500), (4000, 300, 200), (500, 1, 30)]:  # 300: sums beyond 2^22
        vectors = clustered(n, dim, 50, 3)
        book = _core.train_codebook(vectors, k, 3, 9, 0)
        for name, array in zip(NAMES, (*book, _core.assign(*book, vectors, 0)), strict=True):
            found[f"{name} {dim}"] = array
    return found


@pytest.mark.parametrize("isa", tercet.cpu_info()["supported"])
def test_every_level_and_number_of_threads_gives_the_same_bits(isa: str) -> None:
    expected = results_at("scalar", 1)
    for threads in (1, 3):
        got = results_at(isa, threads)
        assert got.keys() == expected.keys()
        for name in expected:
            assert same_bits(got[name], expected[name]), f"{name}, {threads} threads"


def test_the_arrays_are_what_the_codec_says() -> None:
    vectors = clustered(3, 8, 3, 4)
    codes, scales, offsets = _core.train_codebook(vectors, 10, 5, 0, 1)  # each vector is its own centroid
    assert codes.dtype == np.uint8
    assert codes.shape == (3, 8)
    assert (scales.dtype, offsets.dtype) == (np.uint16, np.uint32)
    assert offsets[0] == 0
    assert offsets[-1] == 3
    book = (codes, scales, offsets)
    assert np.allclose(decode(book)[_core.assign(*book, vectors, 1)], vectors, atol=0.05)


def test_rows_may_be_apart() -> None:
    vectors = clustered(2000, 48, 30, 5)
    apart = vectors[:, 8:40]
    book = _core.train_codebook(apart, 100, 3, 1, 1)
    same = _core.train_codebook(np.ascontiguousarray(apart), 100, 3, 1, 1)
    assert all(same_bits(a, b) for a, b in zip(book, same, strict=True))
    assert same_bits(_core.assign(*book, apart, 1), _core.assign(*book, apart.copy(), 1))


def test_seeds_differ() -> None:
    vectors = clustered(1000, 16, 30, 6)
    one, two = (_core.train_codebook(vectors, 50, 3, seed, 1) for seed in (1, 2))
    assert not same_bits(one[0], two[0])


def test_refusals() -> None:
    vectors = clustered(100, 4, 5, 7)
    codes, scales, offsets = _core.train_codebook(vectors, 10, 2, 0, 1)
    with pytest.raises(ValueError, match="centroids: expected 1 to 65536, got 0"):
        _core.train_codebook(vectors, 0, 2, 0, 1)
    with pytest.raises(ValueError, match="vectors: expected 1 to"):
        _core.train_codebook(vectors[:0], 10, 2, 0, 1)
    with pytest.raises(TypeError, match="vectors: expected float32"):
        _core.train_codebook(vectors.astype(np.int8), 10, 2, 0, 1)
    with pytest.raises(ValueError, match="expected 4 dimensions, got 3"):
        _core.assign(codes, scales, offsets, vectors[:, :3].copy(), 1)
    with pytest.raises(ValueError, match="expected 9 rows of 4 codes"):
        _core.assign(codes, scales[:9], offsets, vectors, 1)
    with pytest.raises(ValueError, match="offsets must rise from 0 to 10"):
        _core.assign(codes, scales, offsets[:-1], vectors, 1)
    vectors[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7 has a value that is not finite"):
        _core.assign(codes, scales, offsets, vectors, 1)
