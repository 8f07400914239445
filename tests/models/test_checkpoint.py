"""Checkpoints that would be completed with random numbers are refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from safetensors.torch import load_file, save_file

import toy
from tercet.models import BiEncoder, ColBERT, CrossEncoder

pytestmark = pytest.mark.models


def test_a_bare_encoder_is_refused(tmp_path, bi_path):
    toy.bert(tmp_path / "bare")
    with pytest.raises(
        ValueError, match=r"found architectures \['BertModel'\]; expected a late-interaction"
    ) as e:
        ColBERT(tmp_path / "bare", device="cpu")
    assert "from_biencoder" in str(e.value)
    with pytest.raises(
        ValueError, match=r"model_type 'SentenceTransformer', modules \['Transformer', 'Pooling'"
    ):
        ColBERT(bi_path, device="cpu")
    with pytest.raises(ValueError, match=r"untrained projection"):  # marked as PyLate's, but nothing projects
        ColBERT(toy.pylate(tmp_path / "old", model_type=None, projects=False), device="cpu")


def test_a_cached_name_is_examined_like_a_directory(tmp_path):
    """Lay out the hub's cache by hand: what a name means offline."""
    commit = "0" * 40
    for name, make in (("bare", lambda path: toy.bert(path)), ("colbert", toy.stanford)):
        repository = tmp_path / f"models--toy--{name}"
        make(repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
    with pytest.raises(ValueError, match=r"toy/bare: found architectures \['BertModel'\]"):
        ColBERT("toy/bare", device="cpu", cache_folder=str(tmp_path))
    model = ColBERT("toy/colbert", device="cpu", cache_folder=str(tmp_path))
    assert model.encode_query("hello").values.shape == (16, toy.DIM)
    with pytest.raises(FileNotFoundError, match=r"toy/absent: no such model"):
        ColBERT("toy/absent", device="cpu", cache_folder=str(tmp_path))


def test_a_checkpoint_without_a_trained_head_is_refused(tmp_path, reranker_path):
    toy.bert(tmp_path / "bare")
    with pytest.raises(ValueError, match=r"no trained weights for classifier.bias, classifier.weight") as e:
        CrossEncoder(tmp_path / "bare", device="cpu")
    assert "BertModel" in str(e.value)
    # the configuration promises a head that the weights do not have
    shutil.copytree(reranker_path, tmp_path / "cut")
    tensors = load_file(reranker_path / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, tmp_path / "cut" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"no trained weights for classifier.weight, its scores"):
        CrossEncoder(tmp_path / "cut", device="cpu")


def test_a_head_is_found_in_every_file_format(tmp_path, reranker, reranker_path):
    expected = reranker.score("hello", toy.PAIRED)
    model = reranker.model.transformers_model
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert (tmp_path / "sharded" / "model.safetensors.index.json").exists()
    shutil.copytree(reranker_path, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(model.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    toy.tokenizer().save_pretrained(tmp_path / "sharded")
    for name in ("sharded", "pickled"):
        loaded = CrossEncoder(str(tmp_path / name), device="cpu", precision="float32")
        np.testing.assert_allclose(loaded.score("hello", toy.PAIRED), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "layout"), [(BiEncoder, "bi"), (ColBERT, "late"), (CrossEncoder, "reranker")]
)
def test_the_index_of_shards_is_not_believed(kind, layout, request, tmp_path):
    """It names a tensor that its shard does not have."""
    copy = tmp_path / "sharded"
    shutil.copytree(request.getfixturevalue(f"{layout}_path"), copy)
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    shards = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    toy.write_json(copy / "model.safetensors.index.json", {"metadata": {}, "weight_map": shards})
    gone = next(name for name in tensors if name.endswith("layer.1.attention.self.query.weight"))

    def write(kept):
        for shard in set(shards.values()):
            held = {name: tensors[name] for name in kept if shards[name] == shard}
            save_file(held, copy / shard, metadata={"format": "pt"})

    write(tensors)
    kind(copy, device="cpu")
    write(tensors.keys() - {gone})
    with pytest.raises(ValueError, match=r"weights for \S*layer\.1\.attention\.self\.query\.weight, "):
        kind(copy, device="cpu")
    (copy / shards[gone]).unlink()
    with pytest.raises(FileNotFoundError, match=shards[gone]):
        kind(copy, device="cpu")
