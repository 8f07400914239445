"""``pytest bench/``: options, the pinned core, the ``side_by_side`` fixture, and the tables at the end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # harness and peak, which are no installed package

from harness.clock import NAMES  # noqa: E402
from harness.machine import SINGLE_THREAD, describe, one_core  # noqa: E402

# numpy here makes inputs and reference scores while peers wait for the core: one thread is enough for it too.
os.environ.update({name: os.environ.get(name, value) for name, value in SINGLE_THREAD.items()})

from harness.measure import FULL, QUICK, Session, SideBySide  # noqa: E402
from harness.peer import Contest  # noqa: E402
from harness.report import Report  # noqa: E402

# run by hand: they need a collection, or minutes for one number
SCRIPTS = (
    "bench_quality.py",
    "bench_codecs.py",
    "bench_cuda.py",
    "bench_kmeans.py",
    "bench_multivector.py",
)
REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bench")
    group.addoption("--quick", action="store_true", help="few rounds of the main rows: does it all run?")
    group.addoption("--core", type=int, default=None, help="core to measure on; -1 pins nothing")
    group.addoption("--clock", choices=sorted(NAMES), default="wall", help="cpu leaves out other processes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: left out by --quick")
    config.stash[REPORT] = Report()
    # pytest-benchmark times our side of every pair, so it has to use the same clock; its own table shows no
    # peers and no limits, and stays away unless asked for.
    config.option.benchmark_timer = NAMES[config.getoption("--clock", "wall")]
    asked = config.getoption("benchmark_verbose", False) or config.getoption("benchmark_compare", [])
    config.option.benchmark_quiet = not asked


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect bench_*.py here, and only here; a file named on the command line pytest collects itself."""
    wanted = file_path.parent == HERE and file_path.match("bench_*.py") and file_path.name not in SCRIPTS
    if not wanted or parent.session.isinitpath(file_path):
        return None
    return pytest.Module.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != "bench_peak.py")  # the limits first
    if config.getoption("--quick", False):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    config, report = request.config, request.config.stash[REPORT]
    clock = config.getoption("--clock", "wall")
    with (
        one_core(config.getoption("--core", None)) as pinned,
        tempfile.TemporaryDirectory(prefix="tercet-bench-") as folder,
    ):
        report.head = describe(f"one thread, {pinned}, {clock} time")
        contest = Contest(Path(folder), clock)
        yield Session(contest, report, clock, QUICK if config.getoption("--quick", False) else FULL)
        contest.close()


@pytest.fixture
def side_by_side(session: Session, benchmark: Any) -> SideBySide:
    return SideBySide(benchmark, session)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["tercet"] = config.stash[REPORT].head


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[REPORT].lines():
        terminalreporter.write_line(line)
