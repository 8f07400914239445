"""The near end of a peer's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.machine import SINGLE_THREAD

BENCH = Path(__file__).resolve().parent.parent
PATIENCE = 300.0  # seconds for one answer; a peer that hangs must not hang the session


class Peer(NamedTuple):
    """A contender: how tables name it, ``module.function`` under peers/, and settings of that function."""

    name: str
    task: str
    settings: Mapping[str, Any] = {}


class PeerFailed(Exception):
    """Says in the peer's words why there is no number."""


class Process:
    """A running worker. Answers come one at a time, in order."""

    def __init__(self, module: str, clock: str, folder: Path, patience: float) -> None:
        self._patience = patience
        self._log = folder / f"{module}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.worker", module, clock],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=BENCH,
                env={**os.environ, **SINGLE_THREAD},
                text=True,
                encoding="utf-8",
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, op: str, **message: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self._patience, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"op": op, **message}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise PeerFailed(f"process ended with code {self._process.wait()}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            absent = error.startswith("ModuleNotFoundError")
            raise PeerFailed(f"not installed ({error.rsplit(' ', 1)[-1]})" if absent else error)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:120] if lines else "no message"


class Contest:
    """All peers' processes of a session: one per library, started when first asked for."""

    def __init__(self, folder: Path, clock: str, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._clock = clock
        self._patience = patience
        self._processes: dict[str, Process] = {}
        self._paths: dict[str, str] = {}
        self._loaded: set[str] = set()  # modules whose process has these

    def share(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a row's inputs where every process can read them; the last row's make room."""
        for old in self._folder.glob("*.npy"):
            old.unlink()
        self._loaded.clear()
        self._paths = {name: str(self._folder / f"{name}.npy") for name in arrays}
        for name, array in arrays.items():
            np.save(self._paths[name], array)

    def prepare(self, peer: Peer) -> Prepared:
        """Make a peer ready to run on what was shared; PeerFailed says why not."""
        module, task = peer.task.split(".")
        process = self._processes.get(module)
        if process is None or not process.alive:
            if process is not None:
                process.close()
            process = self._processes[module] = Process(module, self._clock, self._folder, self._patience)
            self._loaded.discard(module)
        if module not in self._loaded:
            process.ask("inputs", arrays=self._paths)
            self._loaded.add(module)
        answer = process.ask("prepare", task=task, settings=dict(peer.settings))
        return Prepared(peer.name, answer["version"], process, answer["task"], self._folder / "result.npy")

    def close(self) -> None:
        for process in self._processes.values():
            process.close()


class Prepared:
    """A peer with its inputs loaded, built and packed."""

    def __init__(self, name: str, version: str, process: Process, task: int, result: Path) -> None:
        self.name = name
        self.version = version
        self._process = process
        self._task = task
        self._result = result

    def seconds(self, warm: bool) -> float:
        """Run once; with ``warm`` an untimed run goes before, since the others emptied the caches."""
        return float(self._process.ask("run", task=self._task, warm=warm)["seconds"])

    def result(self) -> np.ndarray:
        """What the last run returned."""
        self._process.ask("save", task=self._task, path=str(self._result))
        return np.load(self._result)
