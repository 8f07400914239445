"""``tercet demo`` and ``tercet info``: what there is to see without a collection of one's own."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tercet.commands.parsing import add_command

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the commands to a parser."""
    demo = add_command(commands, "demo", _demo, "compare the three architectures on a judged collection")
    demo.add_argument(
        "--cross-encoder",
        metavar="NAME",
        help="name or path; default, with torch: tercet-rerank-mini, which comes along",
    )
    demo.add_argument(
        "--quick",
        action="store_true",
        help="a small part of the collection: under a minute on two idle cores",
    )
    demo.add_argument("--quiet", action="store_true", help="no progress on stderr")

    info = add_command(commands, "info", _info, "this machine and installation, or an index")
    info.add_argument("index", metavar="INDEX", nargs="?", help="an index directory, or a saved index")
    info.add_argument("--json", action="store_true", help="one object")


def _demo(args: argparse.Namespace) -> int:
    from tercet.demo import run

    run(cross_encoder=args.cross_encoder, quick=args.quick, quiet=args.quiet)
    return 0


def _info(args: argparse.Namespace) -> int:
    from tercet.facts import index_facts, machine_facts, shown

    facts = machine_facts() if args.index is None else index_facts(args.index)
    print(json.dumps(facts, default=str) if args.json else "\n".join(shown(facts)))
    return 0
