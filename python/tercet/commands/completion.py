"""``tercet completion``: a script that completes commands, options and their choices in a shell."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from typing import Any

from tercet.commands.parsing import add_command

__all__ = ["add"]

# A word that is neither an option nor one of some choices is completed by the shell, as the name of a file
_SCRIPT = """_tercet() {{
  local known= word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  case $COMP_CWORD:$word:${{COMP_WORDS[1]}} in
    1:*) known='{first}' ;;
{options}
  esac
  case "${{COMP_WORDS[1]}} $before" in
{choices}
  esac
  COMPREPLY=($(compgen -W "$known" -- "$word"))
}}
complete -o default -F _tercet tercet"""
_BEFORE = {"bash": "", "zsh": "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"}


def add(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command to a parser whose commands are these."""
    completion = add_command(
        commands,
        "completion",
        functools.partial(_completion, commands.choices, parser),
        help="a script that completes commands and options",
        description='Prints a script for a shell, in which eval "$(tercet completion SHELL)" runs it.',
    )
    completion.add_argument("shell", choices=list(_BEFORE), help="which shell")


def _completion(
    commands: dict[str, argparse.ArgumentParser], parser: argparse.ArgumentParser, args: argparse.Namespace
) -> int:
    options = [
        f"    *:-*:{name}) known='{' '.join(_options(command))}' ;;" for name, command in commands.items()
    ]
    choices = [line for name, command in commands.items() for line in _choices(name, command)]
    first = " ".join([*commands, *_options(parser)])
    script = _SCRIPT.format(first=first, options="\n".join(options), choices="\n".join(choices))
    print(_BEFORE[args.shell] + script)
    return 0


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings


def _choices(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what completes the word after an option that has choices, or after the command itself."""
    for action in parser._actions:
        if action.choices is not None:
            before = "|".join(f"'{name} {word}'" for word in action.option_strings or [name])
            yield f"    {before}) known='{' '.join(action.choices)}' ;;"
