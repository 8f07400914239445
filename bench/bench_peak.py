"""What can one core do at most? Instruction peaks by format and ISA level, read bandwidth by cache level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tercet
from harness.measure import Session
from harness.peer import Peer, PeerFailed
from harness.report import number
from peak import FORMATS, InstructionPeak, ReadBandwidth, levels

LEVELS = tercet.cpu_info()["supported"]
ROUNDS = 100
GEMM = 1024
HEADER = ("", "median", "10 %", "90 %", "best")


def measure(benchmark: Any, session: Session, table: str, row: str, read: Any) -> list[float]:
    """Take many readings, one per round, and add a row of GMAC/s or GB/s."""
    rates: list[float] = []
    benchmark.group = table
    rounds = min(ROUNDS, session.effort.most)
    benchmark.pedantic(lambda: rates.append(read()), rounds=rounds, warmup_rounds=1)
    low, median, high = np.quantile(rates, (0.1, 0.5, 0.9))
    benchmark.extra_info.update(median=float(median), best=max(rates))
    cells = [row, *(number(rate / 1e9) for rate in (median, low, high, max(rates)))]
    session.report.add(table, HEADER, "all", [cells])
    return rates


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("isa", LEVELS)
def test_instruction(benchmark: Any, session: Session, isa: str, form: str) -> None:
    peak = InstructionPeak(form, isa, session.clock)
    measure(benchmark, session, "Instruction peak, GMAC/s", f"{isa} {form}", peak)


def test_best_library(benchmark: Any, session: Session) -> None:
    """A large matrix product of the best BLAS at hand shows that the float32 peak is one."""
    peer = Peer(f"sgemm {GEMM}", "numpy_blas.gemm", {"n": GEMM})
    try:
        session.contest.share({})
        gemm = session.contest.prepare(peer)
    except PeerFailed as e:
        pytest.skip(str(e))
    table = "Instruction peak, GMAC/s"
    measure(benchmark, session, table, f"{gemm.version}, {peer.name}", lambda: GEMM**3 / gemm.seconds(False))


@pytest.mark.parametrize("level", levels())
def test_read(benchmark: Any, session: Session, level: str) -> None:
    size = levels()[level]
    read = ReadBandwidth(size, session.clock)
    measure(benchmark, session, "Read bandwidth, GB/s", f"{level} ({size >> 10:,} KiB)", read)
