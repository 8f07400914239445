"""The rerankers of an adapter: loaded when they are first used, and lent to one thread at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal

from tercet import models
from tercet.chain import ordered
from tercet.encoders import check_reranker

__all__ = ["LazyModel", "rank"]


class LazyModel:
    """A :class:`tercet.models.ColBERT` or :class:`tercet.models.CrossEncoder`, loaded by its first use.

    Args:
        kind: which of the two a name is loaded as.
        model: what the class of that name takes, None for the small model that comes with tercet; or an
            object that scores already: one of these classes, or your own with ``score(query, texts)``.
        options: further keyword arguments of the class; not with an object that scores already.

    Raises:
        TypeError: options for an object that scores already.
    """

    def __init__(
        self, kind: Literal["ColBERT", "CrossEncoder"], model: Any, options: Mapping[str, Any]
    ) -> None:
        self._arguments = (kind, model, dict(options))
        self._lock = Lock()
        self._loaded: Any = None
        if hasattr(model, "score"):
            check_reranker(model)
            if options:
                raise TypeError(
                    f"{', '.join(sorted(options))}: only for a name, got a {type(model).__name__}"
                )
            self._loaded = model

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """Lend the model, loaded now if it was not.

        One thread has it at a time: tokenizers keep what they were last told about truncation, and a forward
        pass uses every core as it is.
        """
        with self._lock:
            if self._loaded is None:
                kind, model, options = self._arguments
                self._loaded = getattr(models, kind)(model, **options)
            yield self._loaded

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy: as what it was made of."""
        return LazyModel, self._arguments


def rank(model: LazyModel, query: str, texts: Sequence[str], top_n: int | None) -> list[tuple[int, float]]:
    """Return the places of the best texts and their scores, equal ones as they were; None for all."""
    with model.lent() as reranker:
        best = ordered(
            range(len(texts)),
            lambda places: reranker.score(query, [texts[place] for place in places]),
            len(texts),
            name=type(reranker).__name__,
        )
    return best[:top_n]
