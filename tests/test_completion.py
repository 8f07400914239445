"""What ``tercet completion`` completes, in a shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tercet import cli

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", "bash"]) == 0
    return capsys.readouterr().out


def completed(script: str, *words: str) -> list[str]:
    """What the last of the words may become."""
    code = f'{script}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_tercet\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code, "bash", *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash(script: str) -> None:
    assert completed(script, "tercet", "in") == ["info", "index"]
    assert completed(script, "tercet", "info") == ["info"]  # not the options of info
    assert completed(script, "tercet", "--v") == ["--version"]
    assert completed(script, "tercet", "search", "--ex") == ["--explain"]
    assert completed(script, "tercet", "index", "--codec", "res") == ["residual2", "residual1"]
    assert completed(script, "tercet", "completion", "") == ["bash", "zsh"]
    assert completed(script, "tercet", "nonsense", "--") == []


def test_other_words_are_files(script: str) -> None:
    """To which ``-o default`` comes where the function has nothing to say."""
    assert completed(script, "tercet", "index", "") == []
    assert script.endswith("complete -o default -F _tercet tercet\n")


def test_zsh_runs_the_script_of_bash(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "zsh"]) == 0
    first, rest = capsys.readouterr().out.split("\n", 1)
    assert "bashcompinit" in first
    assert rest == script


def test_other_shells(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "fish"]) == 2
    assert "fish" in capsys.readouterr().err
