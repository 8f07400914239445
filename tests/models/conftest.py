"""Toy models that several tests of the model classes share. Nothing is imported before a test asks for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: nothing here may download


@pytest.fixture(scope="session")
def bi_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import toy

    return toy.bi_encoder(tmp_path_factory.mktemp("bi-encoder"))


@pytest.fixture(scope="session")
def bi(bi_path: Path) -> Any:
    from tercet.models import BiEncoder

    return BiEncoder(bi_path, device="cpu")


@pytest.fixture(scope="session")
def stanford_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import toy

    return toy.stanford(tmp_path_factory.mktemp("stanford"))


@pytest.fixture(scope="session")
def colbert(stanford_path: Path) -> Any:
    from tercet.models import ColBERT

    return ColBERT(stanford_path, device="cpu")


@pytest.fixture(scope="session")
def late_path(colbert: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy of Stanford-NLP as sentence-transformers saves it: with markers, expansion and a skip list."""
    path = tmp_path_factory.mktemp("late")
    colbert.model.save_pretrained(str(path), create_model_card=False)
    return path


@pytest.fixture(scope="session")
def reranker_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import toy

    return toy.cross_encoder(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="session")
def reranker(reranker_path: Path) -> Any:
    from tercet.models import CrossEncoder

    return CrossEncoder(reranker_path, device="cpu", precision="float32")
