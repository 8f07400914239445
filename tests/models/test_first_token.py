"""The last layer of a cross-encoder for its first token alone: the same scores from fewer products."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
import transformers
from torch.nn.functional import linear

import toy
from tercet.models.first_token import read_at_the_first_token
from tercet.models.packing import PackedWeights

pytestmark = pytest.mark.models

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "num_labels": 2,
}


@pytest.mark.parametrize("family", ["Bert", "Roberta", "XLMRoberta", "Camembert", "Electra"])
def test_logits_stay_and_rows_are_saved(family):
    torch.manual_seed(0)
    made = getattr(transformers, f"{family}Config")(**SIZES)
    model = getattr(transformers, f"{family}ForSequenceClassification")(made).eval()
    names = {id(weight): name for name, weight in model.named_parameters()}
    chosen = read_at_the_first_token(model)
    assert sorted(names[i].split(".", 1)[1] for i in chosen) == [
        "encoder.layer.1.attention.output.dense.weight",
        "encoder.layer.1.intermediate.dense.weight",
    ]
    ids = torch.randint(4, 50, (5, 11))
    mask = (torch.arange(11) < torch.tensor([11, 3, 7, 1, 10])[:, None]).long()
    rows = []

    class Watching(PackedWeights):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = super().__torch_function__(func, types, args, kwargs)
            if func is linear and result.dim() == 3:
                rows.append(result.shape[1])
            return result

    with torch.inference_mode():
        expected = model(ids, attention_mask=mask).logits
        with Watching(torch.float32, chosen):
            logits = [model(ids, attention_mask=mask).logits for _ in range(3)]  # from the second on, packed
    for found in logits:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert rows.count(1) == 9  # both, and what takes the second, three times
    assert rows.count(11) >= 27


def test_other_models_are_read_whole():
    class BertForSequenceClassification(transformers.BertForSequenceClassification):
        """A class of that name with a head that may read anything."""

    made = transformers.BertConfig(**SIZES)
    assert not read_at_the_first_token(BertForSequenceClassification(made))
    assert not read_at_the_first_token(transformers.BertModel(made))
    none = transformers.BertConfig(**{**SIZES, "num_hidden_layers": 0})
    assert not read_at_the_first_token(transformers.BertForSequenceClassification(none))


def bert(layers: int = 2):
    torch.manual_seed(0)
    made = transformers.BertConfig(**{**SIZES, "num_hidden_layers": layers})
    return transformers.BertForSequenceClassification(made).eval()


def test_what_somebody_changed_is_read_whole():
    assert read_at_the_first_token(bert())

    class MeanPooler(torch.nn.Module):
        def __init__(self, own):
            super().__init__()
            self.dense = own.dense

        def forward(self, hidden):
            return torch.tanh(self.dense(hidden.mean(1)))

    pooled = bert()
    pooled.bert.pooler = MeanPooler(pooled.bert.pooler)
    assert not read_at_the_first_token(pooled)
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        hooked = bert()
        handle = getattr(hooked.bert.encoder.layer[-1].intermediate, register)(lambda *given: None)
        assert not read_at_the_first_token(hooked)
        handle.remove()
        assert read_at_the_first_token(hooked)
    replaced = bert()
    replaced.bert.pooler.forward = lambda hidden: hidden.mean(1)
    assert not read_at_the_first_token(replaced)


def test_shared_weights_are_read_whole():
    layer_twice, one_weight = bert(), bert()
    layer_twice.bert.encoder.layer[1] = layer_twice.bert.encoder.layer[0]
    assert not read_at_the_first_token(layer_twice)
    first, last = one_weight.bert.encoder.layer
    last.intermediate.dense.weight = first.intermediate.dense.weight
    assert not read_at_the_first_token(one_weight)


def test_the_cross_encoder_uses_it(reranker, monkeypatch):
    texts = toy.PAIRED * 3
    scores = reranker.score("what is the capital?", texts)
    monkeypatch.setattr("tercet.models.torch_pairs.read_at_the_first_token", lambda model: frozenset())
    whole = reranker.score("what is the capital?", texts)
    np.testing.assert_allclose(scores, whole, atol=1e-6)
