"""Why a document was found: the MaxSim score, taken apart by query token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tercet.scoring import maxsim_grid
from tercet.tables import text_table

__all__ = ["TokenMatch", "align", "explanation_table", "is_special"]

_SPECIAL = re.compile(r"\[\w+\]|<[\w/|]+>")
_AROUND = 3  # tokens of context on either side


class TokenMatch(NamedTuple):
    """One query token and the document token that is most similar to it.

    Attributes:
        query: the query token.
        document: the document token.
        position: its place among the document's vectors.
        context: the tokens around it, joined to words.
        similarity: of the two vectors; these add up to the score.
        share: part of the score, summing to 1 (0 where the score is 0).
    """

    query: str
    document: str
    position: int
    context: str
    similarity: float
    share: float


def align(
    query: Any, document: Any, query_tokens: Sequence[str], document_tokens: Sequence[str]
) -> list[TokenMatch]:
    """Return for every query token its best match in a document, in the order of the query.

    Args:
        query: ``[tokens, dim]``.
        document: ``[tokens, dim]``.
        query_tokens: one string per row of ``query``.
        document_tokens: one string per row of ``document``.

    Raises:
        ValueError: the numbers of tokens and vectors differ, or the document has no vectors.
    """
    if len(document) == 0:
        raise ValueError("the document has no vectors, so nothing in it matches")
    grid = maxsim_grid(query, document)
    if grid.shape != (len(query_tokens), len(document_tokens)):
        raise ValueError(
            f"expected a token for each of {grid.shape[0]} query and {grid.shape[1]} document vectors, "
            f"got {len(query_tokens)} and {len(document_tokens)}"
        )
    best = grid.argmax(axis=1).tolist()
    similarities = grid.max(axis=1)
    total = float(np.sum(similarities, dtype=np.float64))
    return [
        TokenMatch(
            token,
            document_tokens[place],
            place,
            _joined(document_tokens[max(0, place - _AROUND) : place + _AROUND + 1]),
            similarity,
            similarity / total if total else 0.0,
        )
        for token, place, similarity in zip(query_tokens, best, similarities.tolist(), strict=True)
    ]


def explanation_table(matches: Sequence[TokenMatch]) -> str:
    """Return matches as a table for people; special tokens carry a star."""
    rows = [
        (
            _starred(m.query),
            _starred(m.document),
            f"{m.similarity:.3f}",
            f"{m.share:.1%}",
            m.context,
        )
        for m in matches
    ]
    table = text_table(("query token", "document token", "similarity", "share", "context"), rows, "<<>>")
    special = sum(m.share for m in matches if is_special(m.query))
    note = f"* special token; those of the query carry {special:.1%} of the score"
    return (
        f"{table}\n{note}" if any(is_special(m.query) or is_special(m.document) for m in matches) else table
    )


def is_special(token: str) -> bool:
    """Tell whether a token stands for no text: ``[CLS]``, ``[MASK]``, ``<s>``, a query or document marker."""
    return _SPECIAL.fullmatch(token.strip()) is not None


def _starred(token: str) -> str:
    return f"{token} *" if is_special(token) else token


def _joined(tokens: Sequence[str]) -> str:
    """Join word pieces (``tar ##dive``) or sentence pieces (``▁tar dive``) to words; drop special tokens."""
    words = [token for token in tokens if not is_special(token)]
    if any(word.startswith(("▁", "Ġ")) for word in words):
        return "".join(words).replace("▁", " ").replace("Ġ", " ").strip()
    return " ".join(words).replace(" ##", "").removeprefix("##")
