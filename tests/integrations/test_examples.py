"""The examples of ``docs/integrations/``, run as they stand; and nothing is imported before it is used."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "integrations"
EXAMPLES = sorted(DOCS.glob("*.md"))
# What an adapter's library is imported as, where that is not the name of the page
IMPORTED_AS = {
    "langchain": "langchain_core",
    "llama-index": "llama_index.core",
    "arrow": "pyarrow",
    "ir_measures": "ranx",  # the page needs both; PyTerrier brings ir_measures alone
}
LIBRARIES = [
    "langchain_core",
    "llama_index",
    "haystack",
    "mteb",
    "txtai",
    "lancedb",
    "pyterrier",
    "mcp",
    "ray",
]


def installed(library: str) -> bool:
    """Whether a library is there. `make test-integrations` says that all of them must be."""
    try:
        found = importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # its parent package
        found = False
    assert found or "TERCET_INTEGRATIONS" not in os.environ, f"{library} is not installed"
    return found


@pytest.mark.models
@pytest.mark.skipif(not DOCS.is_dir(), reason="needs the source tree")
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_the_example_runs(page: Path, tmp_path: Path) -> None:
    library = IMPORTED_AS.get(page.stem, page.stem)
    if not installed(library):
        pytest.skip(f"needs {library}")
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 14
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert done.stdout == shown  # what the page says it prints


def test_importing_tercet_imports_none_of_them() -> None:
    code = "import sys, tercet, tercet.cli, tercet.models; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {*LIBRARIES, "torch", "transformers", "onnxruntime"} & {*done.stdout.split()}
