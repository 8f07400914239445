"""What happens to texts before a model sees them: type checks, slabs of bounded size, a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["check_texts", "progress_bar", "slabs"]

_MANY = 256  # texts; fewer are done before anybody reads a bar


def check_texts(texts: str | Iterable[str], name: str = "texts") -> list[str]:
    """Return the texts as a list; a single ``str`` is a batch of one.

    Raises:
        TypeError: not texts at all, or an item that is no ``str``, named by its index and type.
    """
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Iterable):
        raise TypeError(f"{name}: expected str or a sequence of str, got {type(texts).__name__}")
    listed = list(texts)
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}]: expected str, got {type(text).__name__}")
    return listed


def slabs(texts: Sequence[str], *, most: int, characters: int) -> Iterator[slice]:
    """Cut the texts into consecutive pieces of at most ``most`` texts and ``characters`` characters.

    A model holds the results of one piece at a time, so its memory does not grow with the corpus. A text
    longer than ``characters`` is a piece of its own.
    """
    start, held = 0, 0
    for i, text in enumerate(texts):
        if i > start and (i - start == most or held + len(text) > characters):
            yield slice(start, i)
            start, held = i, 0
        held += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


@contextmanager
def progress_bar(total: int, label: str, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """Show a bar on stderr, and yield what moves it on by a number of texts.

    ``progress`` None shows it for many texts, when stderr is a terminal.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    show = progress if progress is not None else total >= _MANY and sys.stderr.isatty()
    with tqdm(total=total, desc=label, unit="text", disable=not show) as bar:
        yield bar.update
