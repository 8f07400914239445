"""Why a document was found: the MaxSim score, taken apart by query token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tercet.arrays import as_float32, as_tokens
from tercet.documents import Document
from tercet.indexes import MultiVectorIndex
from tercet.scoring import maxsim_grid
from tercet.tables import text_table
from tercet.types import Hits

__all__ = [
    "EXPLANATION_COLUMNS",
    "Explanation",
    "Role",
    "Token",
    "TokenMatch",
    "align",
    "explanation",
    "explanation_rows",
    "explanation_table",
    "role_of",
    "words_of",
]

EXPLANATION_COLUMNS = ("query token", "document token", "similarity", "share", "context")

_AROUND = 3  # tokens of context on either side

# What a token stands for, if not for text: "special" are [CLS], [SEP], <s>; a "marker" says that a text is a
# query, or a document; "expansion" are the [MASK]s that fill up a query.
Role = Literal["", "special", "marker", "expansion"]


class Token(str):
    """A token as its tokenizer writes it, with its role: ``""`` if it is of the text itself."""

    __slots__ = ("role",)
    role: Role

    def __new__(cls, text: str, role: Role = "") -> Token:
        """Make one of a string and its role."""
        made = super().__new__(cls, text)
        made.role = role
        return made


def role_of(token: str) -> Role:
    """Return the role of a token; one that is a plain ``str`` counts as text."""
    return token.role if isinstance(token, Token) else ""


class TokenMatch(NamedTuple):
    """One query token and the document token that is most similar to it.

    Attributes:
        query: the query token.
        document: the document token.
        position: its place among the document's vectors.
        context: the tokens around it, joined to words.
        similarity: of the two vectors; these add up to the score.
        share: part of the score, summing to 1 (0 where the score is 0).
        query_role: what the query token stands for, if not for text (see :data:`Role`).
        document_role: likewise of the document token.
    """

    query: str
    document: str
    position: int
    context: str
    similarity: float
    share: float
    query_role: Role
    document_role: Role


class Explanation(NamedTuple):
    """How the tokens of a query and of a document compare.

    Attributes:
        query: the text.
        document: the document.
        query_tokens: one string or :class:`Token` per vector of the query.
        document_tokens: likewise of the document.
        grid: ``float32[query tokens, document tokens]``, the similarities of the query's vectors and those
            that are stored, decoded. A codec of few bits scores a little differently: the matches have that.
        matches: for each query token its best match; their similarities add up to the score.
    """

    query: str
    document: Document
    query_tokens: list[str]
    document_tokens: list[str]
    grid: npt.NDArray[np.float32]
    matches: list[TokenMatch]

    @property
    def score(self) -> float:
        """The MaxSim of the two texts."""
        return float(sum(match.similarity for match in self.matches))


def explanation(
    encoder: Any, query: str, document: Document, index: MultiVectorIndex, id: int
) -> Explanation:
    """Return how a query compares with a document, whose vectors an index has under ``id``.

    Raises:
        TypeError: the encoder has no ``tokens``.
        ValueError: it has other tokens than vectors.
    """
    tokens = getattr(encoder, "tokens", None)
    if tokens is None:
        raise TypeError(f"explain needs an encoder with tokens(text, kind), got {type(encoder).__name__}")
    stored, names = index.get(id)[0], tokens(document.content, "document")
    if len(names) != len(stored):
        raise ValueError(f"expected a token for each of {len(stored)} document vectors, got {len(names)}")
    hit = Hits(np.array([[id]]), np.zeros((1, 1), np.float32))
    vectors, asked = as_tokens(encoder.encode_query([query]), "query"), tokens(query, "query")
    (found,) = index.explain(vectors, hit)
    matches = align(found.document_tokens[0], found.scores[0], asked, names)
    grid = maxsim_grid(as_float32(vectors.rows).data, stored)
    return Explanation(query, document, list(asked), list(names), grid, matches)


def align(
    places: Any, similarities: Any, query_tokens: Sequence[str], document_tokens: Sequence[str]
) -> list[TokenMatch]:
    """Return for every query token its best match in a document, in the order of the query.

    Args:
        places: ``[query tokens]``, a row of :attr:`tercet.TokenMatches.document_tokens`.
        similarities: the same row of its ``scores``.
        query_tokens: one string or :class:`Token` per row of the query's vectors.
        document_tokens: one per row of the document's.

    Raises:
        ValueError: the number of query tokens differs, or the document has no vectors.
    """
    if len(places) != len(query_tokens):
        raise ValueError(f"expected a token for each of {len(places)} query vectors, got {len(query_tokens)}")
    if (places < 0).any():
        raise ValueError("the document has no vectors, so nothing in it matches")
    total = float(similarities.sum(dtype="float64"))
    return [
        TokenMatch(
            token,
            document_tokens[place],
            place,
            _joined(document_tokens[max(0, place - _AROUND) : place + _AROUND + 1]),
            similarity,
            similarity / total if total else 0.0,
            role_of(token),
            role_of(document_tokens[place]),
        )
        for token, place, similarity in zip(query_tokens, places.tolist(), similarities.tolist(), strict=True)
    ]


def explanation_rows(matches: Sequence[TokenMatch]) -> list[tuple[str, ...]]:
    """Return matches as rows of a table with :data:`EXPLANATION_COLUMNS`."""
    return [
        (
            _named(m.query, m.query_role),
            _named(m.document, m.document_role),
            f"{m.similarity:.3f}",
            f"{m.share:.1%}",
            m.context,
        )
        for m in matches
    ]


def explanation_table(matches: Sequence[TokenMatch]) -> str:
    """Return matches as a table for people; tokens that stand for no text say what they are."""
    table = text_table(EXPLANATION_COLUMNS, explanation_rows(matches), "<<>>")
    if not any(m.query_role for m in matches):
        return table
    share = sum(m.share for m in matches if m.query_role)
    return f"{table}\ntokens that stand for no text carry {share:.1%} of the score"


def _named(token: str, role: Role) -> str:
    return f"{token.strip()} ({role})" if role else token


def _joined(tokens: Sequence[str]) -> str:
    """Join word pieces (``tar ##dive``) or sentence pieces (``▁tar dive``) to words; drop what is no text."""
    return "".join(text for token, text in words_of(tokens) if not role_of(token)).strip()


def words_of(tokens: Sequence[str]) -> list[tuple[str, str]]:
    """Return each token with what it is in running text: its string, with a space before a new word."""
    pieces = any(not role_of(token) and token.startswith(("▁", "Ġ")) for token in tokens)

    def text(token: str) -> str:
        if role_of(token):
            return f" {token.strip()}"
        if pieces:
            return token.replace("▁", " ").replace("Ġ", " ")
        return token.removeprefix("##") if token.startswith("##") else f" {token}"

    return [(token, text(token)) for token in tokens]
