"""``tercet index`` and ``tercet remove``: what changes an index directory."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tercet.commands import loading
from tercet.commands.keeping import undone
from tercet.commands.parsing import add_command
from tercet.indexes.base import CODECS, RESIDUAL
from tercet.wording import number_of

if TYPE_CHECKING:
    from tercet.retriever import Retriever

__all__ = ["add"]

_BATCH = 64  # documents between two moves of the bar; 128, the default, pad 3 % less


def add(commands: Any) -> None:
    """Add the commands to a parser."""
    index = add_command(commands, "index", _index, "make an index directory of a file of documents")
    index.add_argument(
        "docs", metavar="DOCS", help="JSONL, also .gz, or - for stdin: _id|id, title, text|contents"
    )
    index.add_argument("-o", "--output", required=True, metavar="DIR", help="the index directory")
    index.add_argument(
        "--model",
        metavar="NAME",
        help="name or path; default: the model of tercet[demo] or tercet[onnx] (for multi, "
        "tercet-colbert-mini comes along too)",
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
        choices=(*CODECS, *RESIDUAL),
        help=f"{', '.join(CODECS)}; for multi also {', '.join(RESIDUAL)}",
    )
    existing = index.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace an index that is there")
    existing.add_argument("--append", action="store_true", help="add to it; same ids replace documents")
    index.add_argument("--quiet", action="store_true", help="no progress on stderr")

    remove = add_command(commands, "remove", _remove, "take documents out of an index")
    remove.add_argument("index", metavar="DIR", help="an index directory")
    remove.add_argument("ids", metavar="ID", nargs="+", help="ids of documents; all are removed, or none")


def _index(args: argparse.Namespace) -> int:
    from tercet.jsonl import number_of_records, open_text, records
    from tercet.progress import Progress

    if args.append and (args.model or args.backend or args.kind or args.codec):
        args.usage_error("--append takes model, backend, kind and codec of the index that is there")
    if args.codec in RESIDUAL and args.kind != "multi":
        args.usage_error(f"--codec {args.codec} is for --kind multi")
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(open_text(args.docs))  # a wrong name fails before a model is loaded
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stack.enter_context(undone(Path(args.output)))
        retriever = stack.enter_context(_made_or_opened(args))
        total = None if args.quiet else number_of_records(args.docs)
        progress = stack.enter_context(Progress("documents", total, quiet=args.quiet))
        left_out: list[str] = []
        added = retriever.add(records(lines, args.docs, left_out), batch_size=_BATCH, progress=progress)
        if not added:
            raise ValueError(f"{args.docs}: no documents{' with text' if left_out else ''}")
        total = len(retriever)
        each = retriever.index.nbytes / total
    seconds = time.perf_counter() - start
    if left_out:
        print(_without_text(left_out), file=sys.stderr)
    stored = number_of(len(added), "document")
    held = f", {total:,} in all" if args.append else ""
    print(f"{args.output}: {stored} in {seconds:.1f} s{held}, {each:,.0f} bytes of vectors each")
    return 0


def _without_text(ids: list[str]) -> str:
    """Say what was left out, as ``tercet compare`` does, and the first of it."""
    first = f"{', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''}"
    return f"left out, without text: {number_of(len(ids), 'document')} ({first})"


def _made_or_opened(args: argparse.Namespace) -> Retriever:
    """Return what documents are added to."""
    from tercet.collection import holds_documents
    from tercet.progress import saying
    from tercet.retriever import Retriever

    if args.append:
        return loading.loaded(Retriever.open(args.output), quiet=args.quiet)
    if not args.force and holds_documents(Path(args.output)):
        raise FileExistsError(
            f"{args.output} holds an index already: --force replaces it, --append adds to it"
        )
    kind: Literal["single", "multi"] = args.kind or "single"
    with saying(f"loading {args.model or 'the packaged model'}", quiet=args.quiet):
        encoder = loading.load_encoder(args.model, kind, args.backend)
        return Retriever.create(
            args.output, encoder=encoder, kind=kind, codec=args.codec, overwrite=args.force
        )


def _remove(args: argparse.Namespace) -> int:
    from tercet.retriever import Retriever

    with Retriever.open(args.index) as retriever:
        ids = [loading.id_in(retriever, text) for text in dict.fromkeys(args.ids)]
        retriever.remove(ids)
        print(f"{args.index}: {number_of(len(ids), 'document')} removed, {len(retriever):,} left")
    return 0
