"""What the parsers of all commands have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["add_command", "positive", "print_json"]


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, description: str = ""
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    Args:
        commands: what ``add_subparsers`` returned.
        name: of the command.
        run: gets the parsed arguments, which have ``usage_error(message)`` beside what was given, and returns
            the exit status.
        help: one line, for the list of commands, and for ``--help`` of this one if it has no description.
        description: what ``--help`` of this one says.
    """
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=description or f"{help[0].upper()}{help[1:]}."
    )
    made.set_defaults(run=run, usage_error=made.error)
    return made


def positive(text: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is none, which is wrong usage.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def print_json(record: Mapping[str, Any]) -> None:
    """Print an object on one line; as it is where UTF-8 can hold it, which a lone surrogate cannot be."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(record)
    print(line)
