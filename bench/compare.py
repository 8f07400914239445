"""Before and after: two JSON files that ``pytest bench/ --benchmark-json=FILE`` wrote.

    python bench/compare.py before.json after.json

A row's speed-up is before / after: above 1 is faster. ``at peak`` is the same for the fraction of the
instruction peak, which a slower hour of the machine moves less than the times. A change that the two
interquartile ranges could explain has a ``~``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.report import Report, duration

HEADER = ("", "before", "after", "speed-up", "(best)", "of peak", "-> after", "at peak")


def load(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return content, {short(bench["fullname"]): bench for bench in content["benchmarks"]}


def short(name: str) -> str:
    """``bench/bench_topk.py::test_float32[1-10]`` -> ``topk float32[1-10]``."""
    file, test = name.split("::", 1)
    return f"{Path(file).stem.removeprefix('bench_')} {test.removeprefix('test_')}"


def machine(content: dict[str, Any]) -> str:
    """The line of the table head that has to be equal for times to be comparable."""
    return str(content["machine_info"].get("tercet", ["?"])[0]).split(", load average")[0]


def settings(content: dict[str, Any]) -> str:
    """Threads, core and clock, which have to be equal too."""
    return str(content["machine_info"].get("tercet", ["?"])[-1]).rsplit("; ", 1)[-1]


def row(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    a, b = before["stats"], after["stats"]
    # Quartiles apart: no reordering of what was measured explains the change.
    unclear = a["q1"] <= b["q3"] and b["q1"] <= a["q3"]
    cells = [
        name,
        duration(a["median"]),
        duration(b["median"]),
        f"{'~' if unclear else ''}{a['median'] / b['median']:.3f}",
        f"{a['min'] / b['min']:.3f}",
    ]
    peaks = [bench["extra_info"].get("of_peak", {}).get("median") for bench in (before, after)]
    if None in peaks:
        return [*cells, "", "", ""]
    return [*cells, f"{peaks[0]:.3f}", f"{peaks[1]:.3f}", f"{peaks[1] / peaks[0]:.3f}"]


def compare(before: Path, after: Path) -> Iterator[str]:
    (old_run, old), (new_run, new) = load(before), load(after)
    for label, run in (("before", old_run), ("after", new_run)):
        yield f"{label}: {run['datetime'][:19]}"
        yield from (f"  {line}" for line in run["machine_info"].get("tercet", []))
    if machine(old_run) != machine(new_run):
        yield "NOT THE SAME MACHINE: only the fractions of the peak can be compared"
    if settings(old_run) != settings(new_run):
        yield "NOT THE SAME SETTINGS: the clock, or the core, is another"
    report = Report()
    for name in (name for name in new if name in old):
        # A peak's own row has no limit; its time is that of one reading.
        if "macs" in new[name]["extra_info"]:
            report.add(str(new[name]["group"]), HEADER, "", [row(name, old[name], new[name])])
    yield from report.lines()
    for label, names in (("before", old.keys() - new.keys()), ("after", new.keys() - old.keys())):
        if names:
            yield f"only {label}: {', '.join(sorted(names))}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Before and after, from two files of --benchmark-json.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    chosen = parser.parse_args(arguments)
    print(*compare(chosen.before, chosen.after), sep="\n")


if __name__ == "__main__":
    main()
