"""What an installed tercet must do beside numpy alone: a script, run by ``make wheel``.

Every index, saved and opened again; the kernels; many threads at once; the command line. Not for pytest,
which would have to be installed as well.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import numpy as np

import tercet

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((300, 32)).astype(np.float32)
TOKENS = RNG.standard_normal((300, 8, 32)).astype(np.float32)


def alone() -> None:
    """It is the installed package, beside numpy and what installs packages."""
    assert Path(sysconfig.get_path("platlib")) in Path(tercet.__file__).parents, tercet.__file__
    installed = {distribution.metadata["Name"] for distribution in distributions()}
    assert installed <= {"tercet", "numpy", "pip", "setuptools"}, installed


def kernels() -> None:
    """Scores are those of numpy, and no kernel was dropped."""
    expected = VECTORS[:5] @ VECTORS.T
    np.testing.assert_allclose(tercet.dot(VECTORS[:5], VECTORS), expected, atol=1e-4)
    assert tercet.topk(VECTORS[:5], VECTORS, 1).ids[:, 0].tolist() == list(range(5))
    grid = np.einsum("qtd,nsd->qnts", TOKENS[:2], TOKENS).max(3).sum(2)
    np.testing.assert_allclose(tercet.maxsim(list(TOKENS[:2]), list(TOKENS)), grid, atol=1e-3)
    assert tercet.cpu_info()["dropped"] == []


def indexes() -> dict[str, Callable[[], Any]]:
    """Ways to make an empty index of each kind."""
    return {
        "FlatIndex": lambda: tercet.FlatIndex(32),
        "FlatIndex rescored": lambda: tercet.FlatIndex(32, codec="int8", rescore="float32"),
        "HNSWIndex": lambda: tercet.HNSWIndex(32),
        **{
            f"MultiVectorIndex {codec}": lambda c=codec: tercet.MultiVectorIndex(32, codec=c)
            for codec in ("float32", "int4", "residual2", "pq16")
        },
    }


def save_and_open(make: Callable[[], Any], folder: Path) -> None:
    """An index finds what it was given, and the same after it was saved."""
    index = make()
    rows = TOKENS if isinstance(index, tercet.MultiVectorIndex) else VECTORS
    index.add(rows, [f"text {i}" for i in range(len(rows))])
    index.remove(["text 0"])
    hits = index.search(rows[1:9], k=3)
    assert hits.ids[:, 0].tolist() == [f"text {i}" for i in range(1, 9)], hits.ids
    index.save(folder / "index.tercet")
    again = tercet.open(folder / "index.tercet").search(rows[1:9], k=3)
    assert again.ids.tolist() == hits.ids.tolist()
    assert again.scores.tobytes() == hits.scores.tobytes()


def segments(folder: Path) -> None:
    """A directory of segments is made of a stream, changed, and searched."""
    index = tercet.SegmentedIndex.build(folder / "papers", enumerate(TOKENS), dim=32)
    with tercet.SegmentedIndex.open(folder / "papers", mode="r+") as writer:
        writer.remove([0])
    index.refresh()
    assert index.search(list(TOKENS[1:3]), k=1).ids.tolist() == [[1], [2]]


def threads(make: Callable[[], Any]) -> None:
    """Searches, additions and removals run at once, and nothing is lost."""
    index = make()
    rows = TOKENS if isinstance(index, tercet.MultiVectorIndex) else VECTORS
    index.add(rows, range(len(rows)))

    def work(worker: int) -> None:
        own = range(1000 * worker, 1000 * worker + 20)
        for _ in range(10):
            index.add(rows[:20], own, threads=1)
            hits = index.search(rows[:5], k=5, threads=1)
            assert (hits.ids >= 0).all()
            assert own[3] in index
            index.remove(own)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(1, 7)))
    assert sorted(index.ids.tolist()) == list(range(len(rows)))
    assert index.search(rows[:100], k=1).ids[:, 0].tolist() == list(range(100))


def command_line() -> None:
    """The command is installed, and says what it is."""
    command = Path(sysconfig.get_path("scripts")) / "tercet"
    for argument, expected in (("--version", f"tercet {version('tercet')}"), ("--help", "completion")):
        done = subprocess.run([command, argument], capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert expected in done.stdout, done.stdout


def main() -> None:
    """Run all of it."""
    alone()
    kernels()
    for name, make in indexes().items():
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            save_and_open(make, Path(folder))
        threads(make)
    with tempfile.TemporaryDirectory() as folder:
        segments(Path(folder))
    command_line()
    assert "torch" not in sys.modules
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert not (gil and sysconfig.get_config_var("Py_GIL_DISABLED")), "importing tercet turned the GIL on"
    print(f"tercet {version('tercet')}, Python {sys.version.split()[0]}{'' if gil else 't'}: all works")


if __name__ == "__main__":
    main()
