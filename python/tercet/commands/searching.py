"""``tercet search`` and ``tercet explain``: what is found, and why."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tercet.commands import loading
from tercet.commands.parsing import add_command, positive, print_json

if TYPE_CHECKING:
    from tercet.explain import TokenMatch
    from tercet.searching import Result

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the commands to a parser."""
    search = add_command(commands, "search", _search, "find documents")
    search.add_argument("index", metavar="DIR", help="an index directory")
    search.add_argument("query", metavar="QUERY", help="a text")
    search.add_argument("-k", type=positive, default=10, metavar="K", help="how many (default 10)")
    search.add_argument("--json", action="store_true", help="one object per line")
    search.add_argument("--explain", action="store_true", help="which tokens matched (indexes of kind multi)")
    search.add_argument(
        "--rerank", metavar="MODEL", help="a cross-encoder, name or path (tercet-rerank-mini comes along)"
    )
    search.add_argument(
        "--depth", type=positive, default=100, metavar="N", help="how many it reads (default 100)"
    )

    explain = add_command(commands, "explain", _explain, "which token of a document matched which of a query")
    explain.add_argument("index", metavar="DIR", help="an index directory of kind multi")
    explain.add_argument("query", metavar="QUERY", help="a text")
    explain.add_argument("id", metavar="ID", help="of a document")
    explain.add_argument("--json", action="store_true", help="one object")
    explain.add_argument("--html", metavar="FILE", help="write a page: shaded text, matches, similarities")
    explain.add_argument("--png", metavar="FILE", help="write a heat map of the similarities")


def _search(args: argparse.Namespace) -> int:
    from tercet.progress import saying
    from tercet.retriever import Retriever

    with contextlib.redirect_stdout(sys.stderr), Retriever.open(args.index) as retriever:
        if not len(retriever):
            print(f"no documents in {args.index}")
            return 0
        reranker = None
        if args.rerank is not None:
            with saying(f"loading {args.rerank}"):
                reranker = loading.load_reranker(args.rerank)
        loading.loaded(retriever)
        results = retriever.search(args.query, args.k, rerank=reranker, depth=args.depth)
        reasons = [retriever.explain(args.query, r.id) if args.explain else [] for r in results]
    for rank, (result, matches) in enumerate(zip(results, reasons, strict=True), 1):
        if args.json:
            record: dict[str, Any] = {"rank": rank, **result._asdict()}
            if args.explain:
                record["explain"] = [match._asdict() for match in matches]
            print_json(record)
        else:
            _show(rank, result, matches)
    return 0


def _show(rank: int, result: Result, matches: list[TokenMatch]) -> None:
    """Print one result for people."""
    from tercet.explain import explanation_table

    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    head = f"{rank:2}. {result.score:.4f}  {result.id}  {result.title}".rstrip()
    print(head if len(head) <= width else head[: width - 4] + " ...")
    print(textwrap.indent(textwrap.fill(result.text, width - 4, max_lines=2, placeholder=" ..."), "    "))
    if matches:
        print(textwrap.indent(explanation_table(matches), "    "))


def _explain(args: argparse.Namespace) -> int:
    from tercet.explain import explanation_table
    from tercet.progress import saying
    from tercet.retriever import Retriever

    with contextlib.redirect_stdout(sys.stderr), Retriever.open(args.index) as retriever:
        id = loading.id_in(retriever, args.id)
        with saying(f"loading {retriever.manifest.encoder.get('name')}"):
            explanation = retriever.explanation(args.query, id)  # which loads it if there is what to explain
    if args.png is not None:
        from tercet.heatmap import heat_map

        heat_map(explanation).save_png(args.png)
    if args.html is not None:
        from tercet.explain_html import explanation_page

        Path(args.html).write_text(explanation_page(explanation), encoding="utf-8")
    if args.json:
        matches = [match._asdict() for match in explanation.matches]
        print_json({"score": explanation.score, **explanation.document._asdict(), "explain": matches})
        return 0
    print(f"{explanation.score:.4f}  {explanation.document.id}  {explanation.document.title}".rstrip())
    print(explanation_table(explanation.matches))
    return 0
