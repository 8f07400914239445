"""The process of one peer library: ``python -m harness.worker MODULE CLOCK``.

One JSON object per line on stdin and one back on stdout:

``{"op": "prepare", "task": NAME, "arrays": {NAME: PATH}, "settings": {...}}`` -> ``{"version": TEXT}``
``{"op": "run", "warm": BOOL}``  one call, after an untimed one if so asked   -> ``{"seconds": FLOAT}``
``{"op": "save", "path": PATH}`` write the last result there as .npy          -> ``{}``

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
        self.run_once: Callable[[], Any] | None = None
        self.result: Any = None

    def prepare(self, task: str, arrays: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
        self.run_once = self.result = None  # frees the last task's memory first
        peer = importlib.import_module(f"peers.{self.module}")
        # Read, not mapped: private memory gets the same pages as everyone else's, huge ones included.
        loaded = {name: np.load(path) for name, path in arrays.items()}
        self.run_once = getattr(peer, task)(**loaded, **settings)
        gc.collect()
        return {"version": peer.VERSION}

    def run(self, warm: bool) -> dict[str, Any]:
        if self.run_once is None:
            raise RuntimeError("nothing is prepared")
        if warm:
            self.run_once()
        start = self.clock()
        self.result = self.run_once()
        return {"seconds": self.clock() - start}

    def save(self, path: str) -> dict[str, Any]:
        np.save(path, np.asarray(self.result))
        return {}


def main() -> None:
    # Libraries print what they like on stdout: it goes to stderr, and the protocol keeps the pipe.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(*sys.argv[1:])
    operations = {"prepare": worker.prepare, "run": worker.run, "save": worker.save}
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
