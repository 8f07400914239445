"""LangChain's own tests of a vector store and of a retriever."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import BagOfWords
from integrations.test_examples import installed
from tercet import HNSWIndex, Retriever

if not (installed("langchain_core") and installed("langchain_tests")):
    pytest.skip("needs langchain-core and langchain-tests", allow_module_level=True)

from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from tercet.integrations.langchain import TercetRetriever, TercetVectorStore

for suite in (RetrieversIntegrationTests, VectorStoreIntegrationTests):
    for method in vars(suite).values():
        if inspect.iscoroutinefunction(method):
            pytest.mark.asyncio(method)  # they count on asyncio_mode = auto


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return TercetVectorStore(self.get_embeddings())


class TestGraphStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return TercetVectorStore(self.get_embeddings(), index=HNSWIndex)


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def notes(self, tmp_path: Path) -> Iterator[None]:
        with Retriever.create(tmp_path / "notes", encoder=BagOfWords()) as self._notes:
            self._notes.add(["cats sleep", "dogs bark", "birds sing", "fish swim"])
            yield

    @property
    def retriever_constructor(self) -> type[TercetRetriever]:
        return TercetRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": self._notes}

    @property
    def retriever_query_example(self) -> str:
        return "what do dogs do"
