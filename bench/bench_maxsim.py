"""How fast is MaxSim: the kernel in cache, the public API, other dimensions, ragged documents?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tercet
from harness.data import Texts, maxsim_float64, passage_lengths, texts
from harness.measure import SideBySide, Work
from harness.peer import Peer

FORMATS = ("float32", "bfloat16", "int8")  # of arrays
PACKED = ("int4", "int2", "binary", "residual2", "residual1")  # residual centroids are trained by add
CODECS = (*FORMATS, *PACKED)
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
K = 10

EQUAL = Peer("maxsim-cpu maxsim_scores", "maxsim_cpu_wheel.scores")
LISTED = Peer("maxsim-cpu maxsim_scores_variable", "maxsim_cpu_wheel.scores_variable")
TORCH = Peer("torch matmul + amax", "torch_cpu.maxsim")
TORCH_BF16 = Peer("torch matmul + amax bfloat16", "torch_cpu.maxsim", {"dtype": "bfloat16"})
NUMPY = Peer("numpy matmul + max", "numpy_blas.maxsim")
NUMKONG = Peer("numkong maxsim_packed f32", "numkong_packed.maxsim", {"dtype": "f32"})
NUMKONG_BF16 = Peer("numkong maxsim_packed bf16", "numkong_packed.maxsim", {"dtype": "bf16"})

# Of the same precision, as far as there are any; numkong screens in int8 whatever it is given.
KERNEL_PEERS = {
    "float32": [TORCH, NUMPY, NUMKONG],
    "bfloat16": [TORCH_BF16, NUMKONG_BF16],
    "int8": [NUMKONG],
}
PUBLIC_PEERS = {
    "float32": [EQUAL, LISTED, TORCH, NUMPY, NUMKONG],
    "bfloat16": [TORCH_BF16, NUMKONG_BF16],
    "int8": [EQUAL, NUMKONG, NUMKONG_BF16],
    **{codec: [EQUAL, NUMKONG] for codec in PACKED},
}
DIMENSION_PEERS = {
    "float32": [EQUAL, TORCH],
    "bfloat16": [TORCH_BF16],
    "int8": [NUMKONG],
    **{codec: [NUMKONG] for codec in PACKED},
}
RAGGED_PEERS = {
    "float32": [LISTED, TORCH, NUMPY],
    "bfloat16": [TORCH_BF16],
    "int8": [NUMKONG],
    **{codec: [NUMKONG] for codec in PACKED},
}

KERNEL = "MaxSim kernel in cache: 32 queries of 32 x 128 in one call, 8 documents of 128 tokens"
PUBLIC = "MaxSim through the public API: one query of 32 x 128, 1,000 documents of 128 tokens"
DIMENSIONS = "MaxSim of other dimensions: one query of 32 tokens, documents of 128 tokens"
RAGGED = "MaxSim of ragged documents: one query of 32 x 128, 2,500 documents of 4 to 256 tokens, mean 50"


def in_format(rows: np.ndarray, form: str) -> Any:
    """Return rows as a user of that format holds them: a torch tensor for bfloat16, scaled for int8."""
    if form == "bfloat16":
        torch = pytest.importorskip("torch", reason="bfloat16 arrays come from torch")
        torch.set_num_threads(1)
        return torch.from_numpy(rows).bfloat16()
    return np.rint(rows * 127).astype(np.int8) if form == "int8" else rows


def largest_error(exact: np.ndarray) -> Callable[[np.ndarray], str]:
    return lambda scores: f"error {np.abs(scores - exact).max():.1e}"


@pytest.mark.parametrize("form", FORMATS)
def test_kernel(side_by_side: SideBySide, form: str) -> None:
    # 32 queries in one call, so that what the call itself costs (Python, checks) is small against the work;
    # 8 documents, as much as stays in a 1 MiB L2 in float32, so that packing a query is small against what is
    # done with it. All of it counts.
    inputs = texts(128, np.full(8, 128), queries=32)
    q = in_format(inputs.query.reshape(-1, 128), form)
    queries = tercet.TokenVectors(q, np.arange(0, len(q) + 1, 32))
    docs = tercet.TokenVectors(in_format(inputs.values, form), inputs.offsets)
    error = largest_error(maxsim_float64(inputs))
    unit = 127.0**2 if form == "int8" else 1.0
    side_by_side(
        KERNEL,
        form,
        f"tercet.maxsim {form}, TokenVectors",
        lambda: tercet.maxsim(queries, docs, threads=1),
        work=Work(inputs.macs, inputs.values.size * BYTES[form]),
        form=form,
        peers=KERNEL_PEERS[form],
        arrays=inputs._asdict(),
        check=lambda scores: error(scores / unit),
        peer_check=error,
    )


@functools.lru_cache(1)
def thousand_documents() -> Texts:
    return texts(128, np.full(1000, 128))


@pytest.mark.parametrize("form", ["float32", "bfloat16"])
def test_arrays(side_by_side: SideBySide, form: str) -> None:
    inputs = thousand_documents()
    query = in_format(inputs.query[0], form)
    docs = in_format(inputs.values.reshape(-1, 128, 128), form)
    side_by_side(
        PUBLIC,
        f"arrays, {form}",
        f"tercet.maxsim {form}",
        lambda: tercet.maxsim(query, docs, threads=1),
        work=Work(inputs.macs, inputs.values.size * BYTES[form]),
        form=form,
        peers=PUBLIC_PEERS[form],
        arrays=inputs._asdict(),
        check=largest_error(maxsim_float64(inputs)),
    )


@pytest.mark.parametrize("codec", CODECS)
def test_index(side_by_side: SideBySide, codec: str) -> None:
    search(side_by_side, PUBLIC, f"stored, {codec}", thousand_documents(), codec, PUBLIC_PEERS[codec])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dim", [64, *(pytest.param(d, marks=pytest.mark.full) for d in (48, 96, 384, 768))])
def test_dimensions(side_by_side: SideBySide, dim: int, codec: str) -> None:
    inputs = texts(dim, np.full(128_000 // dim, 128))  # the same work for every dim
    search(side_by_side, DIMENSIONS, f"dim {dim}, {codec}", inputs, codec, DIMENSION_PEERS[codec])


@pytest.mark.parametrize("codec", CODECS)
def test_ragged(side_by_side: SideBySide, codec: str) -> None:
    search(side_by_side, RAGGED, codec, texts(128, passage_lengths(2500)), codec, RAGGED_PEERS[codec])


def search(
    side_by_side: SideBySide, table: str, row: str, inputs: Texts, codec: str, peers: list[Peer]
) -> None:
    index = tercet.MultiVectorIndex(inputs.values.shape[1], codec=codec)
    index.add(tercet.TokenVectors(inputs.values, inputs.offsets))
    exact = maxsim_float64(inputs)
    side_by_side(
        table,
        row,
        f"MultiVectorIndex {codec}, search k={K}",
        lambda: index.search(inputs.query, K, threads=1),
        work=Work(inputs.macs, index.nbytes),
        form=codec,
        peers=peers,
        arrays=inputs._asdict(),
        check=lambda hits: largest_error(np.take_along_axis(exact, hits.ids, 1))(hits.scores),
        peer_check=largest_error(exact),
    )
