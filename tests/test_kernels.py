"""Every kernel at every level of this machine against the reference, over shapes, layouts and extreme values.

Each level runs once, in a process of its own (kernel_cases); float32 and integer results must be the
reference's to the last bit, whatever the level, the threads and the company in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

import kernel_cases
import reference
import tercet
from kernel_cases import EXTREME_DIMS, FORMATS, INDEX_DIMS, METRICS, Case
from levels import run_python, run_under, same_bits
from tercet import _core

Array = npt.NDArray[np.float32]


@cache
def scores_at(isa: str) -> dict[str, Array]:
    return run_under(isa, "import kernel_cases\nresults = kernel_cases.score_results()")


@cache
def hits_at(isa: str) -> dict[str, Array]:
    return run_under(isa, "import kernel_cases\nresults = kernel_cases.index_results()")


@cache
def cases(form: str, extremes: bool = False) -> list[tuple[Case, Array]]:
    """The cases of a format, each with the reference's dot products."""
    made: Iterable[Case] = [*kernel_cases.shapes(), *kernel_cases.layouts()]
    if extremes:
        made = kernel_cases.extremes()
    return [(case, reference_dot(case)) for case in made if case.queries.format == form]


def reference_dot(case: Case) -> Array:
    queries, docs = case.queries.data, case.docs.data
    if case.queries.format == "bfloat16":
        queries, docs = reference.widen(queries), reference.widen(docs)
    return (reference.dot_int8 if case.queries.format == "int8" else reference.dot)(queries, docs)


def reference_maxsim(case: Case, grid: Array) -> Array:
    return reference.maxsim(grid, case.query_offsets, case.doc_offsets)


def rounds_differently(isa: str, form: str) -> bool:
    return isa in ("avx512_bf16", "amx") and form == "bfloat16"


def rounding(case: Case) -> float:
    """A bound on the difference of two ways to sum bfloat16 products, of which one flushes subnormals."""
    sizes = np.abs(reference.widen(case.queries.data)), np.abs(reference.widen(case.docs.data))
    return case.queries.dim * (2.0**-22 * float(reference.exact_dot(*sizes).max()) + 1e-37)


def differing(isa: str, form: str, extremes: bool = False) -> list[str]:
    """Which scores of a level are not those of the reference."""
    scores, wrong = scores_at(isa), []
    for case, grid in cases(form, extremes):
        for name, want in (("dot", grid), ("maxsim", reference_maxsim(case, grid))):
            got = scores[f"{name}/{case.name}"]
            if rounds_differently(isa, form):
                tokens = 1 if name == "dot" else len(grid)
                same = not np.isfinite(grid).all() or np.allclose(
                    got, want, rtol=0, atol=tokens * rounding(case)
                )
            else:
                same = same_bits(got, want)
            if not same:
                wrong.append(f"{name}/{case.name}")
    return wrong


# ---- the reference itself


def test_fused_multiply_add_is_rounded_once(rng: np.random.Generator) -> None:
    a, b, c = (rng.standard_normal(2000).astype(np.float32) for _ in range(3))
    c *= (2.0 ** rng.integers(-40, 20, 2000)).astype(np.float32)
    a[:500] *= np.float32(2**-70)  # subnormal results
    b[:500] *= np.float32(2**-70)
    c[:500] *= np.float32(2**-130)
    a[500:600], b[500:600], c[500:600] = 1 + 2.0**-12, 1 + 2.0**-12, 2.0**-60  # a tie, but for the last term
    got = reference.fma(a, b, c)
    assert same_bits(got, np.array([reference.fma_exact(*abc) for abc in zip(a, b, c, strict=True)]))
    rounded_twice = (a.astype(np.float64) * b + c).astype(np.float32)
    assert not same_bits(got, rounded_twice)


def test_bfloat16_rounding() -> None:
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 3 * 2**-8, 1e-45], np.float32)
    assert [hex(b) for b in reference.bfloat16(values)] == [
        "0x3f80",
        "0x3f80",
        "0x3f82",
        "0x3f81",
        "0xbf82",
        "0x0",
    ]
    up = reference.bfloat16_up(np.array([0, 1, 1 + 2**-20, 1e-45], np.float32))
    assert [hex(b) for b in up] == ["0x0", "0x3f80", "0x3f81", "0x1"]


# ---- scores of arrays


@pytest.mark.parametrize("form", FORMATS)
def test_dot_and_maxsim(isa: str, form: str) -> None:
    assert differing(isa, form) == []


@pytest.mark.parametrize("form", FORMATS)
def test_extreme_values(isa: str, form: str) -> None:
    """Also sums that overflow: they become infinite, at all levels alike."""
    assert differing(isa, form, extremes=True) == []


def test_scores_do_not_depend_on_company_or_threads(isa: str) -> None:
    assert scores_at(isa)["disagreements"].tolist() == []


def test_longest_rows_do_not_overflow(isa: str) -> None:
    """128 * 255 * 65535 is the largest sum that an int32 has to hold."""
    code = """if True:
        import numpy as np, tercet
        row = np.ones((1, 65535), np.int8)
        queries, docs = (np.array([x], np.int8).T * row for x in ([127, -127, -128], [127, -127, -128, 1]))
        results = {"dot": tercet.dot(queries, docs)}
    """
    want = 65535 * np.outer([127, -127, -128], [127, -127, -128, 1]).astype(np.float64)
    assert same_bits(run_under(isa, code)["dot"], want.astype(np.float32))


@pytest.mark.parametrize("form", FORMATS)
def test_pair_dot(isa: str, form: str, rng: np.random.Generator) -> None:
    for dim in [*range(1, 70), 95, 96, 97, 127, 128, 129, 255, 256, 257, 384, 768, 1023, 4096]:
        a, b = rng.standard_normal((2, dim + 1)).astype(np.float32)[:, 1:]  # rows that are not aligned
        if form == "int8":
            query = rng.integers(-128, 128, dim + 1).astype(np.int8)[1:]
            row = rng.integers(0, 256, dim + 1).astype(np.uint8)[1:]
            query[: dim // 2], row[: dim // 2] = -128, 255
            assert _core.pair_dot(query, row, isa) == int(query.astype(int) @ row.astype(int))
        elif form == "bfloat16":
            a, b = reference.bfloat16(a), reference.bfloat16(b)
            want = reference.pair_dot(reference.widen(a), reference.widen(b))
            assert same_bits(np.float32(_core.pair_dot(a, b, isa)), want), dim
        else:
            assert same_bits(np.float32(_core.pair_dot(a, b, isa)), reference.pair_dot(a, b)), dim


@pytest.mark.parametrize("value", [1e-45, 1e-38, 1e-20, 3e38])
def test_pair_dot_of_extreme_values(isa: str, value: float) -> None:
    signs = np.where(np.arange(77) % 3, 1, -1).astype(np.float32)
    a, b = signs * np.float32(value), np.full(77, np.float32(value) if value < 1 else 1, np.float32)
    assert same_bits(np.float32(_core.pair_dot(a, b, isa)), reference.pair_dot(a, b))


# ---- hits of indexes


@pytest.mark.parametrize("codec", FORMATS)
@pytest.mark.parametrize("dim", INDEX_DIMS)
def test_indexes(isa: str, codec: str, dim: int) -> None:
    queries, vectors, questions, texts = kernel_cases.index_inputs(dim)
    want = {f"flat/{dim}/{m}/{codec}": reference.index_scores(queries, vectors, m, codec) for m in METRICS}
    want[f"multivector/{dim}/{codec}"] = reference.stored_maxsim(questions, texts, codec)
    for name, scores in want.items():
        got_ids, got_scores = hits_at(isa)[f"{name}/ids"], hits_at(isa)[f"{name}/scores"]
        ids, best = reference.topk(scores, 12)
        if rounds_differently(isa, codec):
            np.testing.assert_allclose(got_scores, best, rtol=1e-4, atol=1e-3, err_msg=name)
        else:
            assert same_bits(got_scores, best), name
            assert same_bits(got_ids, ids), name


@pytest.mark.parametrize("codec", FORMATS)
def test_many_rows(isa: str, codec: str) -> None:
    scores = reference.index_scores(*kernel_cases.many_rows(), "l2", codec)
    ids, best = reference.topk(scores, 12)
    assert same_bits(hits_at(isa)[f"many/{codec}/ids"], ids)
    assert same_bits(hits_at(isa)[f"many/{codec}/scores"], best)


def test_hits_do_not_depend_on_company_or_threads(isa: str) -> None:
    assert hits_at(isa)["disagreements"].tolist() == []


# ---- choosing a level


def test_level_is_the_one_asked_for(isa: str) -> None:
    got = run_under(isa, "import tercet\nresults = {'isa': tercet.cpu_info()['isa']}")
    assert str(got["isa"]) == isa


@pytest.mark.parametrize("name", ["avx1024", "AVX2", "avx2 "])
def test_unknown_level_fails_the_import(name: str) -> None:
    done = run_python("import tercet", TERCET_ISA=name)
    assert done.returncode != 0
    for part in ("TERCET_ISA", f'got "{name}"', *tercet.cpu_info()["supported"]):
        assert part in done.stderr


def test_the_default_level_is_the_highest() -> None:
    done = run_python("import tercet; print(tercet.cpu_info()['isa'])", TERCET_ISA="")
    assert done.stdout.split() == tercet.cpu_info()["supported"][-1:]


def test_microbenchmarks_measure_something(isa: str) -> None:
    for form in FORMATS:
        assert 1e6 < _core.peak_macs(form, isa, 2000) < 1e14
    assert 1e6 < _core.read_bandwidth(np.zeros(1 << 20, np.uint8), isa, 2) < 1e14


def test_extreme_cases_reach_every_kernel() -> None:
    """The int8 kernel of AVX-512 has one form up to 256 dimensions and one above."""
    assert min(EXTREME_DIMS) < 256 < max(EXTREME_DIMS)
    assert {256, 257} <= set(EXTREME_DIMS)
