"""Ours, the peers and the machine's limits in turn, round by round, and the table rows made of that."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness import summary
from harness.clock import CLOCKS
from harness.peer import Contest, Peer, PeerFailed, Prepared
from harness.report import Report, duration, number
from peak import InstructionPeak, ReadBandwidth

HEADER = (
    "contender", "median", "best", "GMAC/s", "of peak", "(best)", "GB/s", "of read",
    "x ours", "10-90 %", "(best)", "check",
)  # fmt: skip
WARM_BELOW = 0.05  # seconds: a longer call warms itself


class Work(NamedTuple):
    """What one call has to do at least: multiply-adds, and bytes of stored documents to read once."""

    macs: float
    bytes: float


class Effort(NamedTuple):
    """How long to measure a row: as many rounds as take ``seconds``, within bounds."""

    seconds: float
    fewest: int
    most: int
    longest: float  # seconds; a slow peer is not worth more, but two rounds it gets

    def rounds(self, one: float) -> int:
        wanted = max(self.fewest, min(self.most, math.ceil(self.seconds / one)))
        return max(2, min(wanted, int(self.longest / one)))


FULL = Effort(4.0, 5, 100, 15.0)
QUICK = Effort(0.4, 2, 15, 4.0)


@dataclass
class Session:
    """What all benchmarks of a session share."""

    contest: Contest
    report: Report
    clock: str
    effort: Effort


@dataclass
class Lane:
    """One contender's times, or why it has none."""

    name: str
    seconds: list[float]
    peer: Prepared | None = None
    remark: str = ""
    warm: bool = True

    def run(self) -> None:
        if self.peer is None or self.remark:
            return
        try:
            self.seconds.append(self.peer.seconds(self.warm))
        except PeerFailed as e:
            self.remark = str(e)

    def check(self, check: Callable[[Any], str]) -> str:
        if self.peer is None or self.remark:
            return ""
        try:
            return check(self.peer.result())
        except (PeerFailed, ValueError) as e:
            return str(e)


class SideBySide:
    """The fixture of the same name: call it once per test."""

    def __init__(self, benchmark: Any, session: Session) -> None:
        self._benchmark = benchmark
        self._session = session

    def __call__(
        self,
        table: str,
        row: str,
        name: str,
        ours: Callable[[], Any],
        *,
        work: Work,
        form: str,
        peers: Sequence[Peer] = (),
        arrays: Mapping[str, np.ndarray] | None = None,
        check: Callable[[Any], str],
        peer_check: Callable[[np.ndarray], str] | None = None,
    ) -> None:
        """Measure ``ours()`` beside the peers, which get ``arrays``, and add a section to ``table``.

        ``form`` is the format whose instruction peak is the limit. ``check`` turns our result into a word on
        its correctness, ``peer_check`` (if different) a peer's.
        """
        clock = self._session.clock
        now = CLOCKS[clock]
        limits: dict[str, list[float]] = {"peak": [], "read": []}
        peak, read = InstructionPeak(form, clock=clock), ReadBandwidth(int(work.bytes), clock)
        lanes = self._prepare(peers, arrays or {})

        # The trial: every contender allocates, faults in its memory and tells how long a round takes.
        ours()
        start = now()
        ours()
        first = now() - start
        for lane in lanes:
            lane.run()
            lane.warm = bool(lane.seconds) and lane.seconds[-1] < WARM_BELOW
        calls = [(first, first < WARM_BELOW), *((sum(lane.seconds), lane.warm) for lane in lanes)]
        trial = sum(seconds * (1 + warm) for seconds, warm in calls) + work.bytes / 4e9
        for lane in lanes:
            lane.seconds.clear()

        def others() -> None:
            for lane in lanes:
                lane.run()
            # A limit is an upper bound: of short readings the largest was disturbed least.
            limits["peak"].append(max(peak() for _ in range(3)))
            limits["read"].append(read())
            if first < WARM_BELOW:
                ours()

        gc.collect()
        rounds = self._session.effort.rounds(trial)
        self._benchmark.group = table
        result = self._benchmark.pedantic(ours, setup=others, rounds=rounds)
        if self._benchmark.stats is None:  # --benchmark-disable: only to see that it runs
            return
        own = Lane(name, list(self._benchmark.stats.stats.data))
        for lane in lanes:
            if not lane.seconds and not lane.remark:
                lane.remark = "no times"
        checks = [check(result), *(lane.check(peer_check or check) for lane in lanes)]
        lines = [
            self._row(lane, own, work, limits, text) for lane, text in zip([own, *lanes], checks, strict=True)
        ]
        section = f"{row}: {number(work.macs / 1e6)} MMAC, {number(work.bytes / 1e6)} MB, {rounds} rounds"
        versions = [lane.peer.version for lane in lanes if lane.peer]
        self._session.report.add(table, HEADER, section, lines, versions)
        self._benchmark.extra_info.update(
            contender=name,
            format=form,
            macs=work.macs,
            bytes=work.bytes,
            of_peak=summary.of_limit(work.macs, own.seconds, limits["peak"])._asdict(),
            of_read=summary.of_limit(work.bytes, own.seconds, limits["read"])._asdict(),
            check=checks[0],
            peers=[self._record(lane, own, text) for lane, text in zip(lanes, checks[1:], strict=True)],
        )

    def _prepare(self, peers: Sequence[Peer], arrays: Mapping[str, np.ndarray]) -> list[Lane]:
        lanes = []
        self._session.contest.share(arrays)
        for peer in peers:
            lane = Lane(peer.name, [])
            try:
                lane.peer = self._session.contest.prepare(peer)
            except PeerFailed as e:
                lane.remark = str(e)
            lanes.append(lane)
        return lanes

    @staticmethod
    def _row(lane: Lane, own: Lane, work: Work, limits: dict[str, list[float]], check: str) -> list[str]:
        if lane.remark:
            return [lane.name, lane.remark]
        times = summary.of_times(lane.seconds)
        of_peak = summary.of_limit(work.macs, lane.seconds, limits["peak"])
        of_read = summary.of_limit(work.bytes, lane.seconds, limits["read"])
        cells = [
            lane.name,
            duration(times.median),
            duration(times.best),
            number(work.macs / times.median / 1e9),
            f"{of_peak.median:.3f}",
            f"{of_peak.best:.3f}",
            number(work.bytes / times.median / 1e9),
            f"{of_read.median:.2f}",
        ]
        if lane is own:
            return [*cells, "1", "", "", check]
        ratio = summary.of_ratios(lane.seconds, own.seconds)
        spread = f"{ratio.low:.2f}-{ratio.high:.2f}"
        return [*cells, f"{ratio.median:.2f}", spread, f"{ratio.best:.2f}", check]

    @staticmethod
    def _record(lane: Lane, own: Lane, check: str) -> dict[str, Any]:
        if lane.remark or lane.peer is None:
            return {"name": lane.name, "remark": lane.remark}
        return {
            "name": lane.name,
            "version": lane.peer.version,
            "seconds": lane.seconds,
            "ratio": summary.of_ratios(lane.seconds, own.seconds)._asdict(),
            "check": check,
        }
