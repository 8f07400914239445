"""The limits of one core, by measurement: what every fraction in the tables is a fraction of.

Multiply-adds per second of the instruction that a format's kernels are made of, run on registers; and bytes
per second of reading a buffer of a given size. ``python bench/peak.py`` prints them in a few seconds;
``pytest bench/bench_peak.py`` over many rounds and beside a peer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

import tercet
from harness.clock import CLOCKS
from harness.machine import cache_bytes, describe, one_core
from harness.report import number
from tercet import _core

FORMATS = ("float32", "bfloat16", "int8")
# Codecs that run on another format's instruction: packed codes are unpacked to int8. pq16 multiplies nothing;
# its fraction is that of the products of the same vectors in int8.
INSTRUCTIONS = dict.fromkeys(("int4", "int2", "binary", "residual2", "residual1", "pq16"), "int8")
SAMPLE = 1e-3  # seconds of a reading: long against the clock, short against a scheduler's time slice
LARGEST_BUFFER = 256 << 20


class Limit:
    """Calling it takes one reading, in units per second of the chosen clock."""

    def __init__(self, read: Callable[[], float], clock: str) -> None:
        self._read = read
        self._clock = CLOCKS[clock]
        self._amount = math.inf
        for _ in range(5 if clock != "wall" else 0):
            self()

    def __call__(self) -> float:
        start, tick = time.perf_counter(), self._clock()
        rate = self._read()  # by the wall clock
        tock, end = self._clock(), time.perf_counter()
        if self._clock is time.perf_counter:
            return rate
        # What one reading does is the same every time; an interruption between the clocks, here and inside,
        # only ever makes it look like more.
        self._amount = min(self._amount, rate * (end - start))
        return self._amount / (tock - tick)


class InstructionPeak(Limit):
    """Multiply-adds per second of the instruction that the kernels of a format or codec are made of."""

    def __init__(self, form: str, isa: str | None = None, clock: str = "wall") -> None:
        form, isa = INSTRUCTIONS.get(form, form), isa or tercet.cpu_info()["isa"]
        rounds, elapsed = 16, 0.0
        while elapsed < SAMPLE / 4:
            rounds *= 2
            start = time.perf_counter()
            _core.peak_macs(form, isa, rounds)
            elapsed = time.perf_counter() - start
        rounds = max(1, int(rounds * SAMPLE / elapsed))
        super().__init__(lambda: _core.peak_macs(form, isa, rounds), clock)


class ReadBandwidth(Limit):
    """Bytes per second of reading a buffer of about ``size`` bytes."""

    def __init__(self, size: int, clock: str = "wall") -> None:
        buffer = np.ones(max(4096, min(size, LARGEST_BUFFER)) // 4096 * 4096, np.uint8)
        isa = tercet.cpu_info()["supported"][-1]  # loads are as wide as the machine has them
        repeat = max(1, int(SAMPLE * 20e9 / buffer.size))
        super().__init__(lambda: _core.read_bandwidth(buffer, isa, repeat), clock)


def levels() -> dict[str, int]:
    """Return buffer sizes that lie in each level of the memory hierarchy."""
    caches = cache_bytes()
    # Half a cache is surely in it; of L3, which is shared, the neighbours leave less.
    return {
        "L1": caches[1] // 2,
        "L2": caches[2] // 2,
        "L3": max(caches[3] // 4, caches[2] * 2),
        "DRAM": LARGEST_BUFFER,
    }


def main() -> None:
    with one_core(None) as pinned:
        print(*describe(f"one thread, {pinned}, wall time"), sep="\n")
        for isa in tercet.cpu_info()["supported"]:
            rates = [max(peak() for _ in range(50)) for peak in (InstructionPeak(f, isa) for f in FORMATS)]
            cells = ", ".join(f"{f} {number(r / 1e9)}" for f, r in zip(FORMATS, rates, strict=True))
            print(f"{isa:>12}: {cells} GMAC/s")
        for level, size in levels().items():
            read = ReadBandwidth(size)
            print(f"{level:>12}: {number(max(read() for _ in range(10)) / 1e9)} GB/s ({size >> 10:,} KiB)")


if __name__ == "__main__":
    main()
