"""An explanation as a page of its own: the document's tokens shaded by what they carry, and the matches."""

from __future__ import annotations

from collections.abc import Sequence

from tercet.explain import EXPLANATION_COLUMNS, Explanation, explanation_rows, role_of, words_of
from tercet.heatmap import COLUMNS, heat_map
from tercet.page import html_page, html_table
from tercet.picture import escaped

__all__ = ["explanation_page"]


def explanation_page(explanation: Explanation) -> str:
    """Return the HTML: nothing of it is loaded from elsewhere, and no script runs.

    Args:
        explanation: of :meth:`tercet.Retriever.explanation`. Its texts are escaped.
    """
    document, matches = explanation.document, explanation.matches
    count = len(explanation.document_tokens)
    without_text = sum(match.share for match in matches if match.query_role)
    note = (
        f"MaxSim {explanation.score:.4f}: {len(matches)} query tokens, each with the most similar of "
        f"{count:,} document tokens."
    )
    if any(match.query_role for match in matches):
        note += f" Query tokens that stand for no text carry {without_text:.1%}."
    body = [
        f"<h1>{escaped(explanation.query)}</h1>",
        f'<div class="soft">{escaped(f"{document.id}  {document.title}".strip())}</div>',
        f"<p>{escaped(note)}</p>",
        "<h2>The query</h2>",
        _shaded(explanation.query_tokens, *_of_query(explanation)),
        "<h2>The document, as the model read it</h2>",
        _shaded(explanation.document_tokens, *_of_document(explanation)),
        '<p class="soft">The stronger a token is shaded, the more of the score it carries; rest the mouse on '
        "one to see what it matched.</p>",
        "<h2>Matches</h2>",
        html_table(EXPLANATION_COLUMNS, explanation_rows(matches), "<<>>"),
        "<h2>Similarities</h2>",
        f'<figure><div class="scroll">{heat_map(explanation, columns=max(COLUMNS, 60)).svg()}</div></figure>',
        f"<details><summary>The text</summary><pre>{escaped(document.content)}</pre></details>",
    ]
    return html_page(f"{explanation.query} - {document.id}", body)


def _of_query(explanation: Explanation) -> tuple[list[float], list[str]]:
    """Return what each query token carries, and what is to say of it."""
    carried = [match.share for match in explanation.matches]
    tips = [f"{m.document}: {m.similarity:.3f}, {m.share:.1%} of the score" for m in explanation.matches]
    return carried, tips


def _of_document(explanation: Explanation) -> tuple[list[float], list[str]]:
    """Return what each document token carries, and which query tokens matched it."""
    carried = [0.0] * len(explanation.document_tokens)
    tips: list[list[str]] = [[] for _ in carried]
    for match in explanation.matches:
        carried[match.position] += match.share
        tips[match.position].append(f"{match.query.strip()}: {match.similarity:.3f}")
    said = [
        f"{', '.join(parts)}; {share:.1%} of the score" if parts else ""
        for parts, share in zip(tips, carried, strict=True)
    ]
    return carried, said


def _shaded(tokens: Sequence[str], carried: Sequence[float], tips: Sequence[str]) -> str:
    largest = max(*carried, 1e-9)
    parts = []
    for (token, text), share, tip in zip(words_of(tokens), carried, tips, strict=True):
        role = role_of(token)
        words = text.lstrip(" ")
        space = " " if words != text else ""
        shade = 0.75 * max(share, 0.0) / largest
        style = f' style="background:rgb(var(--shade)/{shade:.2f})"' if shade else ""
        title = f' title="{escaped(tip)}"' if tip else ""
        kind = "token role" if role else "token"
        said = f"{words} {role}" if role else words
        parts.append(
            f'{space}<span class="{kind}"{style}{title}>{escaped(said)}</span>' if style or title or role
            else f"{space}{escaped(said)}"
        )  # fmt: skip
    return f'<p class="text">{"".join(parts).strip()}</p>'
