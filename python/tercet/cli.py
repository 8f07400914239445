"""The command line: ``tercet demo | index | remove | search | info``.

Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tercet.encoders import Encoder
    from tercet.explain import TokenMatch
    from tercet.models.backend import Backend
    from tercet.retriever import Result, Retriever

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    # Set before any library reads it: loading a model draws bars that say nothing here
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        args = _parser().parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
    except SystemExit as e:  # argparse has printed help (0) or usage (2)
        return int(e.code or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep the interpreter from flushing into the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as e:
        # KeyError shows its argument quoted; other messages may span lines
        text = str(e.args[0]) if isinstance(e, KeyError) and e.args else str(e)
        print(f"tercet: {' '.join(text.split()) or type(e).__name__}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tercet", description="Neural retrieval: texts in, ranked texts out."
    )
    version = importlib.metadata.version("tercet")
    parser.add_argument("--version", action="version", version=f"tercet {version}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="compare the three architectures on a judged collection")
    demo.add_argument("--cross-encoder", metavar="NAME", help="add a row for this reranker (name or path)")
    demo.add_argument("--quick", action="store_true", help="a small part of the collection, in seconds")
    demo.set_defaults(run=_demo)

    index = commands.add_parser("index", help="make an index directory of a file of documents")
    index.add_argument(
        "docs", metavar="DOCS", help="JSONL, also .gz, or - for stdin: _id|id, title, text|contents"
    )
    index.add_argument("-o", "--output", required=True, metavar="DIR", help="the index directory")
    index.add_argument(
        "--model", metavar="NAME", help="name or path; default: the model of tercet[demo] or tercet[onnx]"
    )
    index.add_argument(
        "--backend", choices=("torch", "onnx"), help="what runs it; default: torch if it is installed"
    )
    index.add_argument(
        "--kind",
        choices=("single", "multi"),
        help="one vector per document (default), or one per token (late interaction)",
    )
    index.add_argument(
        "--codec",
        metavar="CODEC",
        help="float32, bfloat16, int8, int4, int2 or binary; for multi also residual2, residual1 or pq16",
    )
    existing = index.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace an index that is there")
    existing.add_argument("--append", action="store_true", help="add to it; same ids replace documents")
    index.set_defaults(run=_index, usage_error=index.error)

    remove = commands.add_parser("remove", help="take documents out of an index")
    remove.add_argument("index", metavar="DIR", help="an index directory")
    remove.add_argument("ids", metavar="ID", nargs="+", help="ids of documents; all are removed, or none")
    remove.set_defaults(run=_remove)

    search = commands.add_parser("search", help="find documents")
    search.add_argument("index", metavar="DIR", help="an index directory")
    search.add_argument("query", metavar="QUERY")
    search.add_argument("-k", type=int, default=10, metavar="K", help="how many (default 10)")
    search.add_argument("--json", action="store_true", help="one object per line")
    search.add_argument("--explain", action="store_true", help="which tokens matched (indexes of kind multi)")
    search.add_argument("--rerank", metavar="MODEL", help="a cross-encoder, name or path")
    search.add_argument("--depth", type=int, default=100, metavar="N", help="how many it reads (default 100)")
    search.set_defaults(run=_search)

    info = commands.add_parser("info", help="this machine and installation, or an index")
    info.add_argument("index", metavar="INDEX", nargs="?", help="an index directory, or a saved index")
    info.add_argument("--json", action="store_true", help="one object")
    info.set_defaults(run=_info)

    for command in (demo, index):
        command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser


def _demo(args: argparse.Namespace) -> int:
    from tercet.demo import run

    run(cross_encoder=args.cross_encoder, quick=args.quick, quiet=args.quiet)
    return 0


def _index(args: argparse.Namespace) -> int:
    from tercet.jsonl import number_of_records, open_text, records
    from tercet.progress import Progress, progress_is_shown

    if args.append and (args.model or args.backend or args.kind or args.codec):
        args.usage_error("--append takes model, backend, kind and codec of the index that is there")
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(open_text(args.docs))  # a wrong name fails before a model is loaded
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        retriever = stack.enter_context(_made_or_opened(args))
        total = number_of_records(args.docs) if progress_is_shown(args.quiet) else None
        progress = stack.enter_context(Progress("documents", total, quiet=args.quiet))
        added = retriever.add(records(lines, args.docs), progress=progress)
        if not added:
            raise ValueError(f"{args.docs}: no documents")
        total = len(retriever)
        each = retriever.index.nbytes / total
    seconds = time.perf_counter() - start
    held = f", {total:,} in all" if args.append else ""
    print(
        f"{args.output}: {len(added):,} documents in {seconds:.1f} s{held}, {each:,.0f} bytes of vectors each"
    )
    return 0


def _made_or_opened(args: argparse.Namespace) -> Retriever:
    """Return what documents are added to."""
    from tercet.collection import holds_documents
    from tercet.retriever import Retriever

    if args.append:
        return Retriever.open(args.output)
    if not args.force and holds_documents(Path(args.output)):
        raise FileExistsError(
            f"{args.output} holds an index already: --force replaces it, --append adds to it"
        )
    kind: Literal["single", "multi"] = args.kind or "single"
    encoder = _encoder(args.model, kind, args.backend)
    return Retriever.create(args.output, encoder=encoder, kind=kind, codec=args.codec, overwrite=args.force)


def _remove(args: argparse.Namespace) -> int:
    from tercet.retriever import Retriever

    with Retriever.open(args.index) as retriever:
        ids = [_id_in(retriever, text) for text in dict.fromkeys(args.ids)]
        retriever.remove(ids)
        print(f"{args.index}: {len(ids):,} documents removed, {len(retriever):,} left")
    return 0


def _id_in(retriever: Retriever, text: str) -> int | str:
    """Return an id as the index has it: a shell has no numbers."""
    number = int(text) if re.fullmatch(r"-?\d+", text, re.ASCII) else text
    if text not in retriever or number == text:
        return number
    if number in retriever:
        raise ValueError(f"{text} is the id of two documents, a number and a string: remove it from Python")
    return text


def _search(args: argparse.Namespace) -> int:
    from tercet.retriever import Retriever

    with contextlib.redirect_stdout(sys.stderr), Retriever.open(args.index) as retriever:
        reranker = None
        if args.rerank is not None:
            from tercet.models import CrossEncoder

            reranker = CrossEncoder(args.rerank)
        results = retriever.search(args.query, args.k, rerank=reranker, depth=args.depth)
        reasons = [retriever.explain(args.query, r.id) if args.explain else [] for r in results]
    for rank, (result, matches) in enumerate(zip(results, reasons, strict=True), 1):
        if args.json:
            record: dict[str, Any] = {"rank": rank, **result._asdict()}
            if args.explain:
                record["explain"] = [match._asdict() for match in matches]
            line = json.dumps(record, ensure_ascii=False)
            # a lone surrogate, which JSON can hold and UTF-8 cannot
            print(line if _encodable(line) else json.dumps(record))
        else:
            _show(rank, result, matches)
    return 0


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show(rank: int, result: Result, matches: list[TokenMatch]) -> None:
    """Print one result for people."""
    from tercet.explain import explanation_table

    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    head = f"{rank:2}. {result.score:.4f}  {result.id}  {result.title}".rstrip()
    print(head if len(head) <= width else head[: width - 4] + " ...")
    print(textwrap.indent(textwrap.fill(result.text, width - 4, max_lines=2, placeholder=" ..."), "    "))
    if matches:
        print(textwrap.indent(explanation_table(matches), "    "))


def _info(args: argparse.Namespace) -> int:
    from tercet.facts import index_facts, machine_facts, shown

    facts = machine_facts() if args.index is None else index_facts(args.index)
    print(json.dumps(facts, default=str) if args.json else "\n".join(shown(facts)))
    return 0


def _encoder(model: str | None, kind: str, backend: Backend | None) -> Encoder:
    from tercet import models

    if model is not None and os.path.isdir(model):
        model = os.path.abspath(model)  # it is recorded, and looked for again from anywhere
    if kind == "single":
        return models.BiEncoder(model, backend=backend)
    if model is None:
        return models.ColBERT.from_biencoder(backend=backend)
    return models.ColBERT(model, backend=backend)
