"""``tercet mcp``: an index directory as tools of a language model."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from tercet.commands import loading
from tercet.commands.parsing import add_command, positive

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to a parser."""
    mcp = add_command(
        commands,
        "mcp",
        _mcp,
        "serve an index directory to a language model (needs tercet[mcp])",
        "Serves the tools search and fetch by the Model Context Protocol, over stdin and stdout: for the "
        "configuration of a program that starts such servers itself.",
    )
    mcp.add_argument("index", metavar="DIR", help="an index directory")
    mcp.add_argument(
        "--about", metavar="TEXT", default="", help="what the documents are about, for the model"
    )
    mcp.add_argument(
        "--rerank", metavar="MODEL", help="a cross-encoder, name or path (tercet-rerank-mini comes along)"
    )
    mcp.add_argument(
        "--depth", type=positive, default=100, metavar="N", help="how many it reads (default 100)"
    )


def _mcp(args: argparse.Namespace) -> int:
    from tercet.integrations.mcp import make_server
    from tercet.retriever import Retriever

    with contextlib.ExitStack() as stack:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the protocol's
            retriever = stack.enter_context(Retriever.open(args.index))
            loading.loaded(retriever)  # before a query waits for it
            reranker = None if args.rerank is None else loading.load_reranker(args.rerank)
            server = make_server(retriever, about=args.about, rerank=reranker, depth=args.depth)
        server.run("stdio")
    return 0
