"""Toy checkpoints, written on the fly in the formats that real ones have: random weights, real layouts."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

WORDS = "what is the capital of france paris berlin germany a city in hello world search ##ing index quick"
SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, *string.punctuation, *WORDS.split()]
HIDDEN, DIM, WINDOW = 32, 16, 64

QUERIES = [
    "what is the capital of france?",
    "hello world",
    "",
    "searching, fast index: what is the capital of germany in a city of paris the quick hello world index",
]
DOCUMENTS = [
    "Paris is the capital of France.",
    "Berlin, hello! a city in germany - the quick index's world; fast fast fast fast fast fast fast fast",
    "hello",
    "",
    "zebra ... !!!",
]
PAIRED = [*DOCUMENTS, *QUERIES, "paris " * 90, "a city in germany " * 4, "world"]


def tokenizer(added: tuple[str, ...] = ()) -> BertTokenizer:
    made = BertTokenizer(vocab={token: i for i, token in enumerate(VOCABULARY)})
    made.add_tokens(list(added))
    return made


def config(**changes: Any) -> BertConfig:
    return BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        initializer_range=0.4,  # larger than usual, so that texts differ in more than the sixth digit
        **changes,
    )


def bert(path: Path, *, added: tuple[str, ...] = (), seed: int = 0, dtype: Any = torch.float32) -> BertModel:
    """A bare encoder: what no late-interaction or cross-encoder class may take for a trained model."""
    torch.manual_seed(seed)
    model = BertModel(config()).eval()
    if added:
        model.resize_token_embeddings(len(VOCABULARY) + len(added))
    model.to(dtype).save_pretrained(path)
    tokenizer(added).save_pretrained(path)
    return model


def projection(seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(DIM, HIDDEN, generator=generator) / HIDDEN**0.5


def bi_encoder(path: Path, *, seed: int = 0, dtype: Any = torch.float32) -> Path:
    """sentence-transformers: a transformer, mean pooling, normalisation, and a prompt for queries."""
    bert(path / "bert", seed=seed, dtype=dtype)
    transformer = Transformer(str(path / "bert"))
    model = SentenceTransformer(
        modules=[transformer, Pooling(HIDDEN), Normalize()], prompts={"query": "search "}, device="cpu"
    )
    model.save_pretrained(str(path / "bi"), create_model_card=False)
    return path / "bi"


def stanford(path: Path, **metadata: Any) -> Path:
    """Stanford-NLP: the projection lies beside the encoder's weights, the settings in artifact.metadata."""
    encoder = bert(path)
    tensors = {f"bert.{name}": tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    tensors["linear.weight"] = projection()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    write_json(path / "config.json", {**read_json(path / "config.json"), "architectures": ["HF_ColBERT"]})
    settings = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 16,
        "doc_maxlen": 20,
        "dim": DIM,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
    }
    write_json(path / "artifact.metadata", {**settings, **metadata})
    return path


def pylate(path: Path, *, model_type: str | None = "ColBERT", projects: bool = True) -> Path:
    """PyLate 1.x: sentence-transformers' modules with its own Dense, markers as added tokens."""
    bert(path, added=("[Q] ", "[D] "))
    transformer = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    dense = {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"}
    write_json(path / "modules.json", [transformer, dense] if projects else [transformer])
    if projects:
        (path / "1_Dense").mkdir()
        activation = "torch.nn.modules.linear.Identity"
        shape = {"in_features": HIDDEN, "out_features": DIM, "bias": False, "activation_function": activation}
        write_json(path / "1_Dense" / "config.json", {**shape, "use_residual": False})
        save_file({"linear.weight": projection()}, path / "1_Dense" / "model.safetensors")
    settings = {
        "prompts": {},
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 16,
        "document_length": 20,
        "attend_to_expansion_tokens": False,
        "do_query_expansion": True,
        "skiplist_words": list(string.punctuation),
        "similarity_fn_name": "MaxSim",
    }
    write_json(
        path / "config_sentence_transformers.json",
        {**settings, **({"model_type": model_type} if model_type else {})},
    )
    # what PyLate leaves here is whatever its last call was given, so nothing may depend on it
    write_json(path / "sentence_bert_config.json", {"max_seq_length": 19, "do_lower_case": False})
    return path


def cross_encoder(path: Path, labels: int = 1, *, dtype: Any = torch.float32) -> Path:
    torch.manual_seed(labels)
    BertForSequenceClassification(config(num_labels=labels)).to(dtype).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
