"""The near end of a late-interaction index: built in one process, asked in another (index_worker.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from harness.machine import SINGLE_THREAD
from harness.peer import BENCH


class Failed(Exception):
    """Says in a contender's words why there are no numbers."""


class Contender:
    """One index, and what it has answered: seconds a query of every round, and documents found, by setting.

    ``job`` is what index_worker.py is told. An index in ``folder`` is taken as it is, unless it is ours: that
    is built every time, since our code may have changed.
    """

    def __init__(
        self, name: str, python: str, folder: Path, job: dict[str, Any], threads: int, build_threads: int
    ) -> None:
        self.name, self._python = name, python
        self._log = folder.with_suffix(".log")
        job = {**job, "index": str(folder)}
        kept = folder / "built.json"
        if name.startswith("tercet") or not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._start({**job, "build": True, "threads": build_threads})
            built = self._answer()
            self.close()
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            kept.write_text(json.dumps({**built, "disk": size, "threads": build_threads}))
        self.built: dict[str, Any] = json.loads(kept.read_text())
        self._start({**job, "build": False, "threads": threads})
        opened = self._answer()
        self.memory: int = opened["memory"]
        self.peak = 0
        self.seconds: dict[str, list[float]] = {setting: [] for setting in opened["settings"]}
        self.found: dict[str, list[list[int]]] = {}

    def round(self) -> None:
        """Answer all queries once at every setting."""
        assert self._process.stdin is not None
        for setting, seconds in self.seconds.items():
            print(json.dumps(setting), file=self._process.stdin, flush=True)
            answer = self._answer()
            seconds.append(answer["seconds"])
            self.found[setting], self.peak = answer["found"], answer["peak"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _start(self, job: dict[str, Any]) -> None:
        threads = dict.fromkeys(SINGLE_THREAD, str(job["threads"]))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "harness.index_worker", self.name, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=BENCH,
                env={**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""},
                text=True,
            )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            lines = self._log.read_text(errors="replace").strip().splitlines() or ["no message"]
            raise Failed(f"not measured (code {self._process.wait()}): {lines[-1][:150]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"not measured: {' '.join(answer['error'].split())[:150]}")
        return answer
