"""The process of one late-interaction index: ``python -m harness.index_worker CONTENDER JSON``.

JSON is an object of ``tokens`` and ``index`` (folders), ``documents`` (how many, null: all), ``queries``
(their positions), ``threads``, ``k`` and ``build``. With ``build`` it writes the index, answers what that
took, and ends. Without, it opens the index and asks all queries once, one a call, at the last setting, which
touches most. Then, for the name of a setting on a line of stdin: seconds a query, and what was found.
Answers are JSON, one on a line; whatever goes wrong is ``{"error": TEXT}``, and the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

import token_files
from peers.late import CONTENDERS


def resident(field: str) -> int:
    """Bytes of resident memory: VmRSS (now) or VmHWM (at most so far)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def work(name: str, job: dict[str, Any], answers: TextIO) -> None:
    def answer(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    contender, index = CONTENDERS[name](), Path(job["index"])
    tokens = token_files.read(Path(job["tokens"]), "documents", job["documents"])
    if job["build"]:
        start = time.perf_counter()
        contender.build(tokens, index, job["threads"])
        seconds = time.perf_counter() - start
        answer(version=contender.version, built=contender.BUILT, seconds=seconds, peak=resident("VmHWM"))
        return
    every = token_files.read(Path(job["tokens"]), "queries")
    queries = [np.array(every[i], np.float32) for i in job["queries"]]
    before = resident("VmRSS")
    contender.open(index, tokens, job["threads"])
    most = list(contender.SEARCHES.values())[-1]
    for query in queries:
        contender.search(query, job["k"], **most)
    answer(memory=resident("VmRSS") - before, settings=list(contender.SEARCHES))
    for line in sys.stdin:
        settings = contender.SEARCHES[json.loads(line)]
        start = time.perf_counter()
        found = [contender.search(query, job["k"], **settings) for query in queries]
        seconds = (time.perf_counter() - start) / len(queries)
        answer(seconds=seconds, found=found, peak=resident("VmHWM"))


if __name__ == "__main__":
    # Libraries print what they like on stdout: it goes to stderr, and the answers keep the pipe.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        work(sys.argv[1], json.loads(sys.argv[2]), pipe)
    except Exception as e:  # the row has to say what went wrong
        print(json.dumps({"error": f"{type(e).__name__}: {e}"}), file=pipe, flush=True)
        raise
