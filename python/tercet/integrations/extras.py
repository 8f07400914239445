"""What an adapter says where its library is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around an adapter's imports: if a library is missing, the error says which extra brings it.

    Raises:
        ImportError: ``No module named 'langchain_core': pip install 'tercet[langchain]'``.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        raise ImportError(f"{e}: pip install 'tercet[{extra}]'", name=e.name) from e
