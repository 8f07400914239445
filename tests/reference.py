"""The library in slow, obvious numpy: what everything fast is compared with.

Two kinds of truth. `exact_*` is the number that mathematics gives, in float64, for comparisons within a
tolerance. Everything else repeats the documented order of operations in float32, so that results must agree
to the last bit on every instruction set.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
NOTHING = np.float32(-np.inf)  # the score of a document without tokens

# ---- rounding


def round_to_float32(x: Fraction) -> np.float32:
    """The float32 nearest to a rational number, ties to even, by bisection over all finite float32."""
    if x == 0:
        return np.float32(0)
    low, high = 0, 0x7F800000  # bits of 0 and of infinity; order of bits is order of values
    while high - low > 1:
        middle = (low + high) // 2
        if Fraction(float(_float32_of(middle))) <= abs(x):
            low = middle
        else:
            high = middle
    above = Fraction(2) ** 128 if high == 0x7F800000 else Fraction(float(_float32_of(high)))
    down, up = abs(x) - Fraction(float(_float32_of(low))), above - abs(x)
    nearest = _float32_of(low if (down, low % 2) < (up, high % 2) else high)
    return nearest if x > 0 else -nearest


def _float32_of(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


def fma_exact(a: float, b: float, c: float) -> np.float32:
    """a * b + c, rounded once: the definition, in rational numbers."""
    return round_to_float32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))


def fma(a: Array, b: Array, c: Array) -> Array:
    """`fma_exact` for arrays of float32.

    Products are exact in float64, and rounding a sum twice is wrong only where the first rounding lands on
    a midpoint between two float32. There, and among the subnormals whose midpoints are elsewhere, the sum
    is rounded to odd: if something was cut off and the last bit is even, the neighbour towards the exact
    value is taken, which lies on its side of every midpoint.
    """
    with np.errstate(all="ignore"):
        product, addend = np.broadcast_arrays(np.multiply(a, b, dtype=np.float64), c)
        total = product + addend
        midpoint = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
        doubtful = np.nonzero((midpoint | (np.abs(total) < 2.0**-125)) & np.isfinite(total))
        if len(doubtful[0]):
            p, c, t = product[doubtful], addend[doubtful].astype(np.float64), total[doubtful]
            back = t - p
            cut_off = (p - (t - back)) + (c - back)  # exact: Knuth's TwoSum
            even = t.view(np.int64) % 2 == 0
            towards = np.nextafter(t, np.where(cut_off > 0, np.inf, -np.inf))
            total[doubtful] = np.where((cut_off != 0) & even, towards, t)
        return total.astype(np.float32)


def bfloat16(x: Array) -> Array:
    """The bits of the nearest bfloat16, ties to even."""
    x = np.asarray(x, np.float32)
    below = (x.view(np.uint32) >> 16).astype(np.uint16)  # towards zero
    above = below + np.uint16(1)
    down = np.abs(x.astype(np.float64) - widen(below))
    up = np.abs(widen(above).astype(np.float64) - x)
    return np.where((down < up) | ((down == up) & (below % 2 == 0)), below, above)


def bfloat16_up(x: Array) -> Array:
    """The bits of the smallest bfloat16 that is not below a number >= 0."""
    x = np.asarray(x, np.float32)
    below = (x.view(np.uint32) >> 16).astype(np.uint16)
    return np.where(widen(below) < x, below + np.uint16(1), below)


def widen(bits: Array) -> Array:
    """The float32 that bfloat16 bits stand for."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


# ---- dot products


def exact_dot(queries: Array, docs: Array) -> Array:
    return queries.astype(np.float64) @ docs.astype(np.float64).T


def dot(queries: Array, docs: Array) -> Array:
    """float32[nq, nd]: one fused multiply-add after another, in the order of the dimensions."""
    scores = np.zeros((len(queries), len(docs)), np.float32)
    for k in range(queries.shape[1]):
        scores = fma(queries[:, None, k], docs[None, :, k], scores)
    return scores


def distance(queries: Array, docs: Array) -> Array:
    """-|q - x|^2, float32[nq, nd]: the squares of rounded differences, added as products are."""
    scores = np.zeros((len(queries), len(docs)), np.float32)
    for k in range(queries.shape[1]):
        difference = queries[:, None, k] - docs[None, :, k]
        scores = fma(difference, difference, scores)
    return 0 - scores


def dot_int8(queries: Array, docs: Array) -> Array:
    """The integer dot products (exact in float64, which BLAS likes), rounded to float32 once."""
    return exact_dot(queries, docs).astype(np.float32)


def pair_dot(a: Array, b: Array) -> np.float32:
    """One pair: dimension k goes to partial sum k % 32; the sums are folded in halves."""
    lanes = np.zeros(32, np.float32)
    for k in range(0, len(a), 32):
        n = len(a[k : k + 32])
        lanes[:n] = fma(a[k : k + 32], b[k : k + 32], lanes[:n])
    with np.errstate(all="ignore"):
        while len(lanes) > 1:
            lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return lanes[0]


# ---- late interaction


def exact_maxsim(queries: list[Array], docs: list[Array]) -> Array:
    """For each query token the largest similarity over the document's tokens, summed."""
    scores = np.full((len(queries), len(docs)), -np.inf)
    for i, query in enumerate(queries):
        for j, doc in enumerate(docs):
            if len(doc):
                scores[i, j] = exact_dot(query, doc).max(axis=1).sum()
    return scores


def maxsim(grid: Array, query_offsets: Array, doc_offsets: Array) -> Array:
    """MaxSim from the similarities of all query tokens with all document tokens.

    The maxima of a query are added in four partial sums by their number within the query.
    """
    scores = np.full((len(query_offsets) - 1, len(doc_offsets) - 1), NOTHING)
    with np.errstate(all="ignore"):
        for j in range(len(doc_offsets) - 1):
            if doc_offsets[j + 1] > doc_offsets[j]:
                best = grid[:, doc_offsets[j] : doc_offsets[j + 1]].max(axis=1)
                for i in range(len(query_offsets) - 1):
                    sums = [np.float32(0)] * 4
                    for r, value in enumerate(best[query_offsets[i] : query_offsets[i + 1]]):
                        sums[r % 4] += value
                    total = (sums[0] + sums[1]) + (sums[2] + sums[3])
                    scores[i, j] = NOTHING if np.isnan(total) else total  # infinities of both signs
    return scores


# ---- order


def order(scores: Array, ids: Any) -> Array:
    """The one total order: score descending, then id ascending. Positions, best first."""
    return np.lexsort((np.asarray(ids), -scores))  # the last key is the first to count


def topk(scores: Array, k: int, ids: Any = None) -> tuple[Array, Array]:
    """(ids[nq, k], scores[nq, k]) of a score matrix, unfilled places -1 and -inf."""
    names = np.arange(scores.shape[1]) if ids is None else np.asarray(ids)
    out_ids = np.full((len(scores), k), -1, object if names.dtype.kind == "U" else np.int64)
    out_scores = np.full((len(scores), k), NOTHING)
    for q, row in enumerate(scores):
        best = order(row, names)[:k]
        out_ids[q, : len(best)], out_scores[q, : len(best)] = names[best], row[best]
    return out_ids, out_scores


# ---- token pooling


def pool(doc: Array, factor: int, protected: int = 0) -> Array:
    """The first tokens as they are, then one vector for each cluster of the others."""
    kept, rest = doc[:protected], doc[protected:]
    if len(rest) == 0:
        return doc
    rows = rest.astype(np.float64)
    directions = np.array([row / (length(row) or 1) for row in rows])
    squares = np.maximum(0, 1 - directions @ directions.T) ** 2
    clusters = ward(squares, max(1, len(rest) // factor))
    return np.concatenate([kept, np.array([stretched_mean(rest[c]) for c in clusters])])


def ward(squares: Array, clusters: int) -> list[list[int]]:
    """Ward's clustering as it is defined: merge the two nearest until so many are left.

    Clusters are lists of their members, in the order of the first ones.
    """
    squares = squares.copy()
    np.fill_diagonal(squares, np.inf)
    members = {i: [i] for i in range(len(squares))}
    sizes = np.ones(len(squares))
    while len(members) > clusters:
        a, b = sorted(np.unravel_index(np.argmin(squares), squares.shape))
        merged = (sizes[a] + sizes) * squares[a] + (sizes[b] + sizes) * squares[b] - sizes * squares[a, b]
        merged /= sizes[a] + sizes[b] + sizes
        merged[a] = np.inf
        squares[a] = squares[:, a] = merged
        squares[b] = squares[:, b] = np.inf
        sizes[a] += sizes[b]
        members[a] = sorted(members[a] + members.pop(b))
    return sorted(members.values())


def stretched_mean(rows: Array) -> Array:
    """The mean of float32 rows with the mean of their lengths: float64 sums in their order, rounded once."""
    lengths = np.cumsum([length(row) for row in rows])[-1]
    total = np.cumsum(rows.astype(np.float64), axis=0)[-1]
    size = length(total)
    limit = float(np.finfo(np.float32).max)
    scale = lengths / len(rows) / size if size > 0 else 0.0
    return np.clip(total * scale, -limit, limit).astype(np.float32)


def length(row: Array) -> float:
    """In float64: the square of dimension k goes to partial sum k % 8; the sums are folded in halves."""
    padded = np.zeros(-(-len(row) // 8) * 8)
    padded[: len(row)] = row.astype(np.float64) ** 2
    sums = np.cumsum(padded.reshape(-1, 8), axis=0)[-1]
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    return float(np.sqrt(sums[0]))


# ---- codecs


def int8_encode(rows: Array) -> tuple[Array, Array]:
    """(codes in -127..127, float32 scales that are bfloat16): value = scale * code."""
    scales = widen(bfloat16_up(np.abs(rows).max(axis=1) / np.float32(127)))
    return _int8_codes(rows, scales), scales


def int8_encode_query(rows: Array) -> tuple[Array, Array]:
    """As `int8_encode`, but the scale keeps all bits of float32."""
    scales = np.abs(rows).max(axis=1) / np.float32(127)
    return _int8_codes(rows, scales), scales


def _int8_codes(rows: Array, scales: Array) -> Array:
    divisors = np.where(scales == 0, np.float32(1), scales)[:, None]
    codes = np.clip(np.rint(rows / divisors), -127, 127)  # rint takes ties to even
    return np.where(scales[:, None] == 0, 0, codes).astype(np.int8)


def rotate(rows: Array, seed: int = 0, *, invert: bool = False) -> Array:
    """Random signs and a normalised Hadamard transform, by turns of the first and the last power of two."""
    dim = rows.shape[1]
    power = 1 << (dim.bit_length() - 1)
    rounds = 2 if power == dim else 4
    state, bits = seed, []
    for _ in range(-(-rounds * dim // 64)):  # SplitMix64
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
        bits += [z >> i & 1 for i in range(64)]
    signs = 1 - 2 * np.array(bits[: rounds * dim], np.float32).reshape(rounds, dim)
    out = rows.astype(np.float32)
    for turn in range(rounds):
        turn = rounds - 1 - turn if invert else turn
        where = slice(turn % 2 * (dim - power), turn % 2 * (dim - power) + power)
        if not invert:
            out = out * signs[turn]
        out[:, where] = _hadamard(out[:, where])
        if invert:
            out = out * signs[turn]
    return out


def _hadamard(rows: Array) -> Array:
    n, power = rows.shape
    half = 1
    while half < power:
        pairs = rows.reshape(n, power // (2 * half), 2, half)
        sums, differences = pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]
        rows = np.stack([sums, differences], 2).reshape(n, power)
        half *= 2
    return rows * (np.float32(1) / np.sqrt(np.float32(power)))


BITS = {"int4": 4, "int2": 2, "binary": 1}


def packed_encode(rows: Array, codec: str, seed: int = 0) -> tuple[Array, Array]:
    """(odd numbers, -15..15 for int4, float32 scales that are bfloat16) of the rotated rows."""
    half = 2 ** BITS[codec] // 2
    most = 2 * half - 1
    rotated = rotate(rows, seed)
    largest = np.abs(rotated).max(axis=1)
    values, scales = np.full(rows.shape, -most, np.int8), np.zeros(len(rows), np.float32)
    for i in np.nonzero(largest)[0]:
        y = rotated[i] / largest[i]
        best, chosen = np.float32(-1), None
        for step in range(16 if half > 1 else 1):
            inverse = np.float32(half) / (np.float32(1) - np.float32(0.04) * np.float32(step))
            codes = np.clip(np.floor(y * inverse + np.float32(half)), 0, most)
            grid = (2 * codes - most).astype(np.float32)
            product, square = np.cumsum(y * grid)[-1], np.cumsum(grid * grid)[-1]  # one after another
            if product > 0 and product * product > best * square:
                best, chosen = product * product / square, grid
        z = y.astype(np.float64)
        values[i] = chosen
        scales[i] = np.float64(largest[i]) * (np.cumsum(z * z)[-1] / np.cumsum(z * chosen)[-1])
    return values, widen(bfloat16(scales))


def decode(rows: Array, codec: str) -> Array:
    """What a codec keeps of rows, as float32."""
    if codec == "bfloat16":
        return widen(bfloat16(rows))
    if codec == "int8":
        codes, scales = int8_encode(rows)
        return scales[:, None] * codes
    if codec in BITS:
        values, scales = packed_encode(rows, codec)
        return rotate(scales[:, None] * values, invert=True)
    return rows


def stored_dot(queries: Array, rows: Array, codec: str) -> Array:
    """The scores of float32 queries with rows stored under a codec."""
    if codec == "int8":
        query_codes, query_scales = int8_encode_query(queries)
        codes, scales = int8_encode(rows)
        return dot_int8(query_codes, codes) * scales[None, :] * query_scales[:, None]
    if codec in BITS:
        query_codes, query_scales = int8_encode_query(rotate(queries))
        values, scales = packed_encode(rows, codec)
        return dot_int8(query_codes, values) * scales[None, :] * query_scales[:, None]
    if codec == "bfloat16":
        return dot(widen(bfloat16(queries)), widen(bfloat16(rows)))
    return dot(queries, rows)


def residual_dot(queries: Array, state: dict[str, Any], bits: int) -> Array:
    """The scores of float32 queries with the rows of a residual index, from what it saves."""
    n, dim = len(state["centroids"]), queries.shape[1]
    values = unpack(state["codes"].reshape(n, -1), dim, bits)
    codes, scales = int8_encode_query(rotate(queries, 0))
    added = centroid_scores(queries, state) * (np.float32(1) / scales)[:, None]
    scores = dot_int8(codes, values) * widen(state["scales"]) + added[:, state["centroids"]]
    return scores * scales[:, None]


def product_dot(queries: Array, state: dict[str, Any]) -> Array:
    """The scores of float32 queries with the rows of a pq16 index, from what it saves."""
    dim = queries.shape[1]
    codes, entries = state["codes"].reshape(-1, 16), state["codec_parameters"].reshape(256, dim)
    rotated, firsts = rotate(queries, 0), [m * dim // 16 for m in range(17)]
    tables = [dot(rotated[:, a:b], entries[:, a:b]) for a, b in pairwise(firsts)]
    tables.append(centroid_scores(queries, state))
    largest = np.zeros(len(queries), np.float32)
    for table in tables:
        largest += np.abs(table).max(axis=1)
    factors = np.where(largest > 2.0**-100, np.float32(32750) / largest, np.float32(0))
    rounded = []
    for table in tables:
        x = table * factors[:, None]
        rounded.append((x + np.copysign(np.float32(0.5), x)).astype(np.int16))
    chosen = [table[:, codes[:, m]] for m, table in enumerate(rounded[:16])]
    total = np.sum([*chosen, rounded[16][:, state["centroids"]]], axis=0, dtype=np.int16)
    return total.astype(np.float32) * (largest / np.float32(32750))[:, None]


def centroid_scores(queries: Array, state: dict[str, Any]) -> Array:
    """The scores of float32 queries with the centroids of a codebook."""
    centroids = state["codebook_codes"].reshape(-1, queries.shape[1]).astype(np.int16) - 128
    codes, scales = int8_encode_query(queries)
    return dot_int8(codes, centroids) * widen(state["codebook_scales"]) * scales[:, None]


def unpack(rows: Array, dim: int, bits: int) -> Array:
    """The odd numbers that packed codes stand for: blocks of 64 dimensions, each in planes."""
    out, most = np.empty((len(rows), dim), np.int8), 2**bits - 1
    for first in range(0, dim, 64):
        dims = min(64, dim - first)
        size = -(-dims * bits // 32) * 4
        block = rows[:, first * bits // 8 :][:, :size]
        for k in range(dims):
            out[:, first + k] = 2 * (block[:, k % size] >> k // size * bits & most).astype(int) - most
    return out


def stored_maxsim(queries: list[Array], docs: list[Array], codec: str) -> Array:
    """MaxSim of float32 queries with documents stored under a codec."""
    grid = stored_dot(np.concatenate(queries), np.concatenate(docs), codec)
    return maxsim(grid, offsets(queries), offsets(docs))


def offsets(texts: list[Array]) -> Array:
    return np.cumsum([0, *map(len, texts)])


def unit(rows: Array) -> Array:
    """Rows of length one, computed in float64; the zero vector stays zero."""
    lengths = np.sqrt(squared_norms(rows))[:, None]
    return (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def squared_norms(rows: Array) -> Array:
    """In float64, summed in the order of the dimensions."""
    return np.cumsum(rows.astype(np.float64) ** 2, axis=1)[:, -1]


def index_scores(queries: Array, rows: Array, metric: str, codec: str) -> Array:
    """What a FlatIndex must answer."""
    if metric == "dot":
        return stored_dot(queries, rows, codec)
    if metric == "cosine":
        return stored_dot(unit(queries), unit(rows), codec)
    if codec == "float32":
        return distance(queries, rows)
    # -|q - x|^2 = <2q, x> - |x|^2 - |q|^2; doubling is exact, rounding must not lift it above zero
    products = stored_dot(2 * queries, rows, codec)
    products += -squared_norms(decode(rows, codec)).astype(np.float32)[None, :]
    return np.minimum(products - squared_norms(queries).astype(np.float32)[:, None], 0)
