"""A missing library is an error that says what to install."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from tercet.integrations.extras import needs


def test_a_missing_library_names_its_extra() -> None:
    message = r"No module named 'no_such_library': pip install 'tercet\[it\]'"
    with pytest.raises(ImportError, match=message) as e, needs("it"):
        importlib.import_module("no_such_library")
    assert e.value.name == "no_such_library"


@pytest.mark.parametrize(
    ("adapter", "library", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("haystack", "haystack", "haystack"),
    ],
)
def test_an_adapter_without_its_library(adapter: str, library: str, extra: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import tercet.integrations.{adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"pip install 'tercet[{extra}]'" in done.stderr
