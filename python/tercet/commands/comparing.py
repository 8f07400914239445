"""``tercet compare``: ways to rank, side by side on a collection of one's own."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tercet.commands import loading
from tercet.commands.parsing import add_command, positive
from tercet.indexes.base import CODECS, RESIDUAL

if TYPE_CHECKING:
    from tercet.compare.arms import StageName
    from tercet.compare.run import Models

__all__ = ["add"]

_ARMS = ["bi", "colbert", "bi+colbert"]
_WITH_CE = ["bi+ce", "colbert+ce"]


def add(commands: Any) -> None:
    """Add the command to a parser."""
    compare = add_command(
        commands,
        "compare",
        _compare,
        help="compare ways to rank on a judged collection: quality, latency, storage",
        description="Compares bi-encoder, late interaction, cross-encoder and their chains on a collection "
        "in the layout of BEIR. Everything is measured in the run that prints it.",
    )
    compare.add_argument(
        "folder", metavar="FOLDER", help="corpus.jsonl, queries.jsonl (or .gz), qrels/test.tsv"
    )
    compare.add_argument(
        "--arms",
        metavar="ARMS",
        help="stages joined by +, arms by commas; the first is what others are compared with (default "
        f"{','.join(_ARMS)}, and with a cross-encoder {','.join(_WITH_CE)})",
    )
    compare.add_argument("--model", metavar="NAME", help="bi-encoder; default: the model of tercet[demo]")
    compare.add_argument(
        "--colbert",
        metavar="NAME",
        help="default: the token vectors of the bi-encoder; tercet-colbert-mini comes along",
    )
    compare.add_argument(
        "--cross-encoder",
        metavar="NAME",
        help="for arms with ce; default: tercet-rerank-mini, which comes along",
    )
    compare.add_argument(
        "--depth",
        metavar="N[,N]",
        default="50",
        help="candidates that the first reranking stage reads, and the next ones (default 50)",
    )
    compare.add_argument(
        "--stop-margin",
        type=float,
        metavar="X",
        help="also measure the arms with ce where it stops early (Retriever.search, stop_margin)",
    )
    compare.add_argument("--min-depth", type=int, metavar="N", help="texts it reads in any case (default 10)")
    compare.add_argument(
        "--codec", choices=CODECS, default="float32", metavar="CODEC", help="of bi (default float32)"
    )
    compare.add_argument(
        "--token-codec",
        choices=(*CODECS, *RESIDUAL),
        default="int4",
        metavar="CODEC",
        help="of colbert (default int4)",
    )
    compare.add_argument("--split", default="test", metavar="NAME", help="qrels/NAME.tsv (default test)")
    compare.add_argument(
        "--limit-queries", type=positive, metavar="N", help="ask the first N judged queries only"
    )
    compare.add_argument("--html", metavar="FILE", help="write a report")
    compare.add_argument("--png", metavar="FILE", help="write the plot (needs tercet[report])")
    compare.add_argument(
        "--json", metavar="FILE", help="write all numbers, of each query too; - prints them, and no table"
    )
    compare.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _compare(args: argparse.Namespace) -> int:
    from tercet.chain import check_stopping
    from tercet.compare.arms import BEST, parse_arm
    from tercet.compare.beir import read_folder
    from tercet.compare.plot import plot
    from tercet.compare.report import html_report, text_report
    from tercet.compare.run import make_arms, measure_all
    from tercet.compare.summary import as_json, summary
    from tercet.progress import saying

    default = [*_ARMS, *(_WITH_CE if args.cross_encoder is not None else [])]
    names = args.arms.split(",") if args.arms else default
    try:
        chosen = [parse_arm(name.strip()) for name in dict.fromkeys(names)]
        depths = [int(number) for number in args.depth.split(",")]
        if min(depths) < BEST or depths != sorted(depths, reverse=True):
            raise ValueError(
                f"--depth: expected numbers of at least {BEST} that do not rise, got {args.depth}"
            )
        stopping = check_stopping(args.stop_margin, args.min_depth, BEST, depths[-1])
        if args.stop_margin is not None and not any("ce" in stages for stages in chosen):
            raise ValueError("--stop-margin needs an arm with ce: for example --arms bi,bi+ce")
    except ValueError as e:
        args.usage_error(str(e))
    for path in filter(None, (args.html, args.png, args.json)):
        _check_place(Path(path))
    folder = read_folder(Path(args.folder), split=args.split, limit_queries=args.limit_queries)
    with contextlib.redirect_stdout(sys.stderr):
        with saying("loading the models", quiet=args.quiet):
            models = _models(args, {stage for stages in chosen for stage in stages})
        arms = make_arms(chosen, depths, models.ce, stopping)
        comparison = measure_all(
            folder, arms, models, codec=args.codec, token_codec=args.token_codec, quiet=args.quiet
        )
    numbers = json.dumps(as_json(comparison), indent=1)
    print(numbers if args.json == "-" else text_report(comparison))
    if args.json not in (None, "-"):
        Path(args.json).write_text(numbers + "\n", encoding="utf-8")
    if args.html is not None:
        Path(args.html).write_text(html_report(comparison), encoding="utf-8")
    if args.png is not None:
        plot(folder.name, summary(comparison)).save_png(args.png)
    return 0


def _check_place(path: Path) -> None:
    """Fail before minutes are spent on what then cannot be written."""
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: no such directory: {path.absolute().parent}")
    if path.suffix == ".png":
        from tercet.picture import require_matplotlib

        require_matplotlib()


def _models(args: argparse.Namespace, stages: set[StageName]) -> Models:
    """Load what the stages need."""
    from tercet.compare.run import Models

    bi = loading.load_encoder(args.model, "single", None) if "bi" in stages else None
    colbert = loading.load_colbert(args.colbert, args.model, bi) if "colbert" in stages else None
    ce = loading.load_reranker(args.cross_encoder) if "ce" in stages else None
    return Models(bi, colbert, ce)
