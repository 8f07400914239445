"""What is shown of a long job: a bar or a line, to people alone."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes import BagOfWords
from tercet import cli, progress, retriever
from tercet.commands import loading


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put one in the place of stderr; in the test itself, since pytest takes it back before."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


@pytest.fixture(params=["tqdm", "line"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "line":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        pytest.importorskip("tqdm")
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)
    return request.param


@pytest.mark.parametrize("total", [None, 4000])
def test_a_terminal_sees_it(way: str, total: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with progress.Progress("documents", total) as show:
        show(1000)
        show(4000)
    text = shown.getvalue()
    assert "documents" in text
    assert "/s" in text
    assert ("4000" in text) == (way == "tqdm")
    assert ("4,000" in text) == (way == "line")
    assert ("100%" in text) == (way == "tqdm" and total is not None)
    assert text.splitlines()[-1].strip("\r\x1b[K ") == ""  # nothing is left


def test_nobody_else_does(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with progress.Progress("documents", quiet=True) as show:
        show(5)
    assert shown.getvalue() == ""
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with progress.Progress("documents", 5) as show:
        show(5)
    assert file.getvalue() == ""


def test_it_is_there_from_the_first_moment_on(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with progress.Progress("documents", 4000):
        assert ("0/4000" if way == "tqdm" else "documents: 0 of 4,000") in shown.getvalue()


def test_a_log_gets_a_line_now_and_then(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress.Progress("documents", 4000) as show, progress.Progress("x", quiet=True) as silent:
        for second in range(26):
            clock[0] = float(second)
            show(100 * second)
            silent(second)
    assert log.getvalue().splitlines() == [
        "documents: 1,000 of 4,000, 30 s left, 100/s",
        "documents: 2,000 of 4,000, 20 s left, 100/s",
    ]


def test_loading_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: str | None, kind: str, backend: str | None = None) -> BagOfWords:
        assert shown.getvalue().endswith("loading any ...")
        return BagOfWords("fake")

    def load_recorded(record: dict[str, Any]) -> BagOfWords:
        assert shown.getvalue().endswith("loading fake ...")
        return BagOfWords("fake")

    monkeypatch.setattr(loading, "load_encoder", load)
    monkeypatch.setattr(retriever, "load_recorded", load_recorded)
    docs, index = tmp_path / "docs.jsonl", str(tmp_path / "x")
    docs.write_text('{"text": "a"}')
    shown = terminal(monkeypatch)
    assert cli.main(["index", str(docs), "-o", index, "--model", "any"]) == 0
    assert cli.main(["index", str(docs), "-o", index, "--append"]) == 0
    assert cli.main(["search", index, "a"]) == 0
    assert shown.getvalue().split("\r\x1b[K")[-1] == ""  # nothing is left


def test_the_command_knows_how_many_there_are(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal(monkeypatch)
    monkeypatch.setattr(loading, "load_encoder", lambda model, kind, backend: BagOfWords("fake"))
    docs = tmp_path / "docs.jsonl"
    docs.write_text("\n\n".join(json.dumps({"id": i, "text": f"text {i}"}) for i in range(300)) + "\n\n")
    assert cli.main(["index", str(docs), "-o", str(tmp_path / "x")]) == 0
    assert ("256/300" if way == "tqdm" else "300 of 300") in shown.getvalue()
