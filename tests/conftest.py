"""What all tests share."""

from __future__ import annotations

import os
import platform

import numpy as np
import pytest
from hypothesis import settings

import tercet

settings.register_profile("tercet", deadline=None, derandomize=True)  # the same examples everywhere
settings.load_profile("tercet")

LEVELS: list[str] = tercet.cpu_info()["supported"]


def pytest_report_header() -> str:
    info = tercet.cpu_info()
    return (
        f"tercet {tercet.__version__}: {info['isa']} of {', '.join(info['supported'])}; "
        f"{info['threads']} threads; python {platform.python_version()}, numpy {np.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} cpus"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "isa" in getattr(item, "fixturenames", ()):
            item.add_marker("levels")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=LEVELS)
def isa(request: pytest.FixtureRequest) -> str:
    """Every level this machine has, for tests that can name one (see levels.run_under)."""
    return str(request.param)
