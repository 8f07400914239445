"""What holds for the tests of all adapters, and for the examples, which inherit the environment."""

from __future__ import annotations

import os

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # tests need no network
