"""A cross-encoder as LangChain has it."""

from __future__ import annotations

from typing import Any

from langchain_core.cross_encoders import BaseCrossEncoder

from tercet.integrations.models import LazyModel

__all__ = ["TercetCrossEncoder"]


class TercetCrossEncoder(BaseCrossEncoder):
    """A :class:`tercet.models.CrossEncoder` for what takes a ``BaseCrossEncoder``.

    Args:
        model: a name, a path, a ``sentence_transformers.CrossEncoder`` or a
            :class:`tercet.models.CrossEncoder`; None for the small one that comes with tercet. Loaded by the
            first ``score``.
        options: further keyword arguments of :class:`tercet.models.CrossEncoder`, for a model of another kind
            than that.
    """

    def __init__(self, model: Any = None, **options: Any) -> None:
        self._model = LazyModel("CrossEncoder", model, options)

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Return one score for each pair of a query and a text, larger is better."""
        with self._model.lent() as model:
            scores: list[float] = model.predict(text_pairs).tolist()
        return scores
