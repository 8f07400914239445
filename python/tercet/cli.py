"""The command line: ``tercet demo | info | index | remove | search | explain | compare | mcp | completion``.

Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage,
130 interrupted, 141 where the reader of stdout has left.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from tercet.commands import about, comparing, completion, indexing, searching, serving

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
    except KeyboardInterrupt as e:
        print(": ".join(["tercet: interrupted", *map(str, e.args)]), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep the interpreter from flushing into the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # as of a command that SIGPIPE ends
    except Exception as e:
        print(f"tercet: {' '.join(_message(e).split()) or type(e).__name__}", file=sys.stderr)
        return 1
    return status


def _message(error: Exception) -> str:
    """Return what an error says, which may span lines, without the quotes and numbers that Python adds."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tercet",
        description="Neural retrieval: texts in, ranked texts out.",
        epilog="Results go to stdout, messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    version = importlib.metadata.version("tercet")
    parser.add_argument("--version", action="version", version=f"tercet {version}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (about, indexing, searching, comparing, serving):
        module.add(commands)
    completion.add(commands, parser)
    return parser
