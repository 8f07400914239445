"""The process of one peer library: ``python -m harness.worker MODULE CLOCK``.

One JSON object per line on stdin and one back on stdout:

``{"op": "inputs", "arrays": {NAME: PATH}}``                      forget everything, load these   -> ``{}``
``{"op": "prepare", "task": NAME, "settings": {...}}``            -> ``{"version": TEXT, "task": INTEGER}``
``{"op": "run", "task": INTEGER, "warm": BOOL}``                  one call, after an untimed one if so asked
                                                                  -> ``{"seconds": FLOAT}``
``{"op": "save", "task": INTEGER, "path": PATH}``                 write its last result as .npy   -> ``{}``

Whatever goes wrong comes back as ``{"error": TEXT}``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.clock import CLOCKS


class Worker:
    def __init__(self, module: str, clock: str) -> None:
        self.module = module
        self.clock = CLOCKS[clock]
        self.arrays: dict[str, np.ndarray] = {}
        self.tasks: list[Callable[[], Any]] = []
        self.results: dict[int, Any] = {}

    def inputs(self, arrays: dict[str, str]) -> dict[str, Any]:
        self.tasks.clear()
        self.results.clear()
        self.arrays.clear()  # before loading: two rows' inputs may not fit
        gc.collect()
        # Read, not mapped: private memory gets the same pages as everyone else's, huge ones included.
        self.arrays = {name: np.load(path) for name, path in arrays.items()}
        return {}

    def prepare(self, task: str, settings: dict[str, Any]) -> dict[str, Any]:
        peer = importlib.import_module(f"peers.{self.module}")
        self.tasks.append(getattr(peer, task)(**self.arrays, **settings))
        return {"version": peer.VERSION, "task": len(self.tasks) - 1}

    def run(self, task: int, warm: bool) -> dict[str, Any]:
        call = self.tasks[task]
        if warm:
            call()
        start = self.clock()
        self.results[task] = call()
        return {"seconds": self.clock() - start}

    def save(self, task: int, path: str) -> dict[str, Any]:
        np.save(path, np.asarray(self.results[task]))
        return {}


def main() -> None:
    # Libraries print what they like on stdout: it goes to stderr, and the protocol keeps the pipe.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(*sys.argv[1:])
    operations = {
        "inputs": worker.inputs,
        "prepare": worker.prepare,
        "run": worker.run,
        "save": worker.save,
    }
    gc.disable()
    for line in sys.stdin:
        message = json.loads(line)
        try:
            answer = operations[message.pop("op")](**message)
        except Exception as e:  # the row has to say what the peer did
            answer = {"error": f"{type(e).__name__}: {e}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
