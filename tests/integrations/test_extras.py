"""A missing library is an error that says what to install."""

from __future__ import annotations

import importlib

import pytest

from tercet.integrations.extras import needs


def test_a_missing_library_names_its_extra() -> None:
    message = r"No module named 'no_such_library': pip install 'tercet\[it\]'"
    with pytest.raises(ImportError, match=message) as e, needs("it"):
        importlib.import_module("no_such_library")
    assert e.value.name == "no_such_library"
