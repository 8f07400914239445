"""Settings that change what a model computes: ONNX Runtime honours them as torch does, or refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'tercet[onnx]'")
pytest.importorskip("onnx", reason="needs onnx, to export: pip install 'tercet[dev]'")

import sentence_transformers as st

import toy
from onnx_exports import exported, exported_classifier
from tercet.models import BiEncoder, CrossEncoder

pytestmark = pytest.mark.models

TEXTS = [
    *toy.PAIRED,
    "paris hello world search index quick city germany " * 30,
    "P\u00e0ris, \u6771\u4eac h\u00ebllo PARIS",
]
QUERY = "what is the capital"
TOKENS, DESCRIBED = "tokenizer_config.json", "config_sentence_transformers.json"
Change = Callable[[Path], None]


def stated(file: str, **settings: Any) -> Change:
    """Change settings in a file; those that are None are taken out."""

    def change(folder: Path) -> None:
        path = folder / file
        values = {**(toy.read_json(path) if path.exists() else {}), **settings}
        toy.write_json(path, {key: value for key, value in values.items() if value is not None})

    return change


def cut_on_the_left(folder: Path) -> None:
    tokenizer = toy.read_json(folder / "tokenizer.json")
    how = {"direction": "Left", "max_length": 20, "strategy": "LongestFirst", "stride": 0}
    toy.write_json(folder / "tokenizer.json", {**tokenizer, "truncation": how})


def saved_with_case(folder: Path) -> None:
    tokenizer = toy.read_json(folder / "tokenizer.json")
    tokenizer["normalizer"]["lowercase"] = False
    toy.write_json(folder / "tokenizer.json", tokenizer)


def without(file: str) -> Change:
    return lambda folder: (folder / file).unlink()


def both(source: Path, tmp_path: Path, changes: list[Change], export: Any) -> tuple[Path, Path]:
    changed = Path(shutil.copytree(source, tmp_path / "torch"))
    for change in changes:
        change(changed)
    return changed, export(changed, tmp_path / "onnx")


@pytest.mark.parametrize(
    "changes",
    [
        [stated(TOKENS, truncation_side="left")],
        [cut_on_the_left],
        [stated(DESCRIBED, truncate_dim=8)],
        [stated(DESCRIBED, truncate_dim=999)],
        [stated(TOKENS, do_lower_case=False)],
        [stated(TOKENS, do_lower_case=False, tokenizer_class="PreTrainedTokenizerFast")],
        [stated(TOKENS, do_lower_case=None), saved_with_case],
        [without(TOKENS), saved_with_case],
        [stated(TOKENS, strip_accents=False)],
        [stated(TOKENS, tokenize_chinese_chars=False)],
        [
            stated(DESCRIBED, truncate_dim=8, prompts={"document": "hello "}, __version__=None),
            stated("sentence_bert_config.json", max_seq_length=9),
            without("modules.json"),  # so that neither counts
        ],
    ],
)
def test_vectors(bi_path, tmp_path, changes):
    torch, onnx = both(bi_path, tmp_path, changes, exported)
    model = BiEncoder(onnx, backend="onnx", normalize=False)
    expected = st.SentenceTransformer(str(torch), device="cpu").encode_document(TEXTS, batch_size=1)
    assert model.dim == expected.shape[1]
    np.testing.assert_allclose(model.encode_document(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        [stated(TOKENS, truncation_side="left")],
        [stated(TOKENS, model_input_names=["input_ids", "attention_mask"])],
        [stated(TOKENS, tokenizer_class="PreTrainedTokenizerFast")],
        [stated(DESCRIBED, prompts={"ask": "search "}, default_prompt_name="ask")],
        [stated("sentence_bert_config.json", max_seq_length=20)],
    ],
)
def test_scores(reranker_path, tmp_path, changes):
    torch, onnx = both(reranker_path, tmp_path, changes, exported_classifier)
    pairs = [(QUERY, text) for text in TEXTS]
    expected = st.CrossEncoder(str(torch), device="cpu").predict(pairs, batch_size=1)
    np.testing.assert_allclose(CrossEncoder(onnx, backend="onnx").score(QUERY, TEXTS), expected, atol=1e-5)


def test_a_cut_vector_is_another_model(bi_path, tmp_path):
    _, onnx = both(bi_path, tmp_path, [], exported)
    whole = BiEncoder(onnx, backend="onnx").fingerprint()["content"]
    stated(DESCRIBED, truncate_dim=8)(onnx)
    assert BiEncoder(onnx, backend="onnx").fingerprint()["content"] != whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (stated(TOKENS, truncation_side="middle"), r"tokenizer_config.json: truncation_side: .*got 'middle'"),
        (stated(DESCRIBED, truncate_dim="8"), r"sentence_transformers.json: truncate_dim: .*got '8'"),
        (
            stated("sentence_bert_config.json", processing_kwargs={"text": {"truncation": False}}),
            r"sentence_bert_config.json: processing_kwargs .*does not support it; backend='torch' does",
        ),
    ],
)
def test_what_is_refused(bi_path, tmp_path, change, message):
    _, onnx = both(bi_path, tmp_path, [], exported)
    change(onnx)
    with pytest.raises(ValueError, match=message):
        BiEncoder(onnx, backend="onnx")


def test_lower_case_of_other_tokenizers(bi_path, tmp_path):
    _, onnx = both(bi_path, tmp_path, [], exported)
    tokenizer = toy.read_json(onnx / "tokenizer.json")
    toy.write_json(onnx / "tokenizer.json", {**tokenizer, "normalizer": {"type": "Lowercase"}})
    stated(TOKENS, tokenizer_class="AlbertTokenizer")(onnx)
    BiEncoder(onnx, backend="onnx")
    stated(TOKENS, do_lower_case=False)(onnx)
    with pytest.raises(ValueError, match=r"tokenizer_config.json: do_lower_case: expected True, .*got False"):
        BiEncoder(onnx, backend="onnx")


def test_modules_of_another_kind_beside_a_classifier(reranker_path, tmp_path):
    _, onnx = both(reranker_path, tmp_path, [], exported_classifier)
    toy.write_json(onnx / "modules.json", [{"path": "", "type": "sentence_transformers.models.Transformer"}])
    with pytest.raises(ValueError, match=r"expected model_type 'CrossEncoder' .*got None"):
        CrossEncoder(onnx, backend="onnx")
