"""Documents for a language model: a server of the Model Context Protocol over a :class:`tercet.Retriever`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any

import tercet
from tercet.commands.loading import id_in
from tercet.encoders import Reranker, check_reranker
from tercet.integrations.extras import needs
from tercet.scoring import check_k

with needs("mcp"):
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations
    from pydantic import Field

__all__ = ["make_server"]

SHOWN = 1000  # characters of a text that a search shows; fetch has them all

Query = Annotated[str, Field(description="What is asked, in words: a question or a description.")]
Count = Annotated[int, Field(description="How many documents.", ge=1, le=100)]
Id = Annotated[str, Field(description="The id of a document, as search gives it.")]


@dataclass
class FoundDocument:
    """One document, as the tools return it."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]


@dataclass
class RankedDocument(FoundDocument):
    """One document that a search found; ``score`` is larger for a better one."""

    score: float


def make_server(
    retriever: tercet.Retriever,
    *,
    about: str = "",
    rerank: Reranker | None = None,
    depth: int = 100,
) -> Any:
    """Return an ``MCPServer`` with the tools ``search(query, k)`` and ``fetch(id)``.

    ``make_server(...).run("stdio")`` serves whoever started the process: what ``tercet mcp DIR`` does.
    Calls are answered one at a time, from the documents that were there when the retriever was opened.

    Args:
        retriever: the documents and their model.
        about: what the documents are about, for the model that is to use the tools.
        rerank: orders what is found anew, as for :meth:`tercet.Retriever.search`.
        depth: how many documents it reads.

    Raises:
        TypeError: ``rerank`` is no reranker.
        ValueError: ``depth`` below 1.
    """
    if rerank is not None:
        check_reranker(rerank)
    check_k(depth, "depth")
    lock = Lock()  # tools run in threads, and models are for one at a time

    @contextmanager
    def turn() -> Iterator[None]:
        with lock:
            try:
                yield
            except (KeyError, TypeError, ValueError) as e:  # what the caller can change
                raise ToolError(str(e.args[0]) if e.args else type(e).__name__) from e

    def search(query: Query, k: Count = 10) -> list[RankedDocument]:
        with turn():
            results = retriever.search(query, k, rerank=rerank, depth=depth)
        return [RankedDocument(str(r.id), r.title, _shown(r.text), r.metadata, r.score) for r in results]

    def fetch(id: Id) -> FoundDocument:
        with turn():
            found = retriever.get(id_in(retriever, id))
        return FoundDocument(id, found.title, found.text, found.metadata)

    subject = f" about {about}" if about else ""
    server = MCPServer("tercet", version=tercet.__version__, log_level="WARNING")
    for tool, purpose in (
        (
            search,
            f"Find documents{subject} by meaning: the best k for a query, best first. Long texts are cut.",
        ),
        (fetch, f"Read one document{subject} in full."),
    ):
        reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        server.add_tool(tool, description=purpose, annotations=reads)
    return server


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
