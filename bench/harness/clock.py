"""The two clocks. Apart from machine.py, since the peers' processes need them and must not load tercet."""

from __future__ import annotations

import time
from collections.abc import Callable

# Wall time is what a user waits for. CPU time leaves out what other processes take from us, which on a shared
# machine is most of the noise; it does not leave out their use of caches and memory.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
NAMES = {"wall": "time.perf_counter", "cpu": "time.process_time"}  # as pytest-benchmark wants them
