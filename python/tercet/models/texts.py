"""What happens to texts before a model sees them: type checks, pieces of bounded size, a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from tercet.unicode import unicode_fault

__all__ = ["batches", "check_text", "check_texts", "default_budget", "progress_bar", "slabs"]

_MANY = 256  # texts; fewer are done before anybody reads a bar

# Padded tokens per forward pass: the fewer, the less padding, and the more of what a layer makes stays in
# the cache. On one core (MiniLM) 2,048 took 3 to 9 % longer than 1,024, and of 8,192, the usual 32 texts of
# 256, a sixth of the time went to the system for fresh pages. An accelerator needs more to be busy.
_THREAD_BUDGET, _MOST_THREADS, _ACCELERATOR_BUDGET = 1024, 8, 32768


def check_text(text: object, name: str) -> str:
    """Return a text as it was given.

    Raises:
        TypeError: no ``str``.
        ValueError: not valid Unicode, which no tokenizer takes.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected str, got {type(text).__name__}")
    if fault := unicode_fault(text):
        raise ValueError(f"{name}: not valid Unicode: {fault}")
    return text


def check_texts(texts: str | Iterable[str], name: str = "texts") -> list[str]:
    """Return the texts as a list; a single ``str`` is a batch of one.

    Raises:
        TypeError: not texts at all, or an item that is no ``str``, named by its index and type.
        ValueError: an item that is not valid Unicode, named by its index.
    """
    if isinstance(texts, str):
        return [check_text(texts, name)]
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Iterable):
        raise TypeError(f"{name}: expected str or a sequence of str, got {type(texts).__name__}")
    return [check_text(text, f"{name}[{i}]") for i, text in enumerate(texts)]


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


def default_budget(device: str, threads: int) -> int:
    """Return how many padded tokens should go through a model at a time."""
    if not device.startswith("cpu"):
        return _ACCELERATOR_BUDGET
    return _THREAD_BUDGET * min(threads, _MOST_THREADS)


def batches(
    lengths: npt.NDArray[np.int64], budget: int, most: int | None = None
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the positions of all texts in batches of at most ``budget`` padded tokens, or of one text.

    The longest come first, so that a batch too large for the memory fails at once and not at the end.

    Args:
        lengths: tokens of each text.
        budget: padded tokens per batch.
        most: texts per batch; None is no limit.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, budget // max(1, int(lengths[order[start]])))
        count = count if most is None else min(count, most)
        yield order[start : start + count]
        start += count


@contextmanager
def progress_bar(total: int, label: str, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """Show a bar on stderr, and yield what moves it on by a number of texts.

    ``progress`` None shows it for many texts, when stderr is a terminal.
    """
    show = progress if progress is not None else total >= _MANY and sys.stderr.isatty()
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:  # it comes with the model libraries, yet none of them needs it to run
        yield lambda count: None
        return
    with tqdm(total=total, desc=label, unit="text", disable=not show) as bar:
        yield bar.update
