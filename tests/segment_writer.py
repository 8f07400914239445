"""A writer of a SegmentedIndex that can be killed: what it does follows from a seed, so a model can follow.

``python segment_writer.py DIRECTORY KIND SEED`` does it until it is killed, and prints the generation of
every commit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tercet

Array = npt.NDArray[Any]
DIM = 3
MEMORY = 4000  # a few dozen documents


def document(rng: np.random.Generator) -> Array:
    return rng.integers(-2, 3, (rng.integers(0, 5), DIM)).astype(np.float32)  # some without tokens


def operations(known: list[Any], kind: type, seed: int) -> Iterator[tuple[str, list[Any], list[Array]]]:
    """What a writer does to an index with these ids: ("add", ids, documents), ("remove", ids, []), ..."""
    rng = np.random.default_rng(seed)
    ids = set(known)
    while True:
        what = str(rng.choice(["add", "remove", "commit", "compact"], p=[0.4, 0.2, 0.3, 0.1]))
        chosen: list[Any] = []
        if what in ("add", "remove"):
            numbers = sorted(set(rng.integers(0, 80, rng.integers(1, 12)).tolist()))
            chosen = [i if kind is int else f"é{i}" for i in numbers]
        if what == "remove":
            chosen = [i for i in chosen if i in ids]
            ids -= set(chosen)
        documents = [document(rng) for _ in chosen] if what == "add" else []
        ids |= set(chosen) if what == "add" else set()
        yield what, chosen, documents


def perform(index: tercet.SegmentedIndex, what: str, ids: list[Any], documents: list[Array]) -> None:
    if what == "add":
        index.add(documents, ids)
    elif what == "remove":
        index.remove(ids)
    else:
        getattr(index, what)()


def follow(known: dict[Any, Array], kind: type, seed: int, commits: int) -> dict[Any, Array]:
    """What an index holds after so many commits of :func:`operations`."""
    known, seen = dict(known), dict(known)
    for what, ids, documents in operations(sorted(known), kind, seed):
        if commits == 0:
            return seen
        if what == "add":
            known.update(zip(ids, documents, strict=True))
        elif what == "remove":
            known = {i: d for i, d in known.items() if i not in ids}
        else:
            commits -= 1
            seen = dict(known)
    raise AssertionError


def start(directory: Path, kind: type, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(directory), kind.__name__, str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str], after: float) -> list[int]:
    """Let it make a commit, wait, kill it; return the generations it printed: one more may have been made."""
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    lines = [first, *process.stdout.read().splitlines(keepends=True)]
    process.wait()
    process.stdout.close()
    return [int(line) for line in lines if line.endswith("\n")]


def main() -> None:
    directory, kind, seed = sys.argv[1:]
    index = tercet.SegmentedIndex.open(directory, mode="r+", memory=MEMORY)
    ids = sorted(index.ids.tolist())
    for what, *given in operations(ids, {"int": int, "str": str}[kind], int(seed)):
        perform(index, what, *given)
        if what in ("commit", "compact"):
            os.write(1, f"{index.generation}\n".encode())


if __name__ == "__main__":
    main()
