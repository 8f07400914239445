"""Type checks, slabs and the progress bar, through the classes that use them."""

from __future__ import annotations

import pytest

pytest.importorskip("sentence_transformers")

from tercet.models.texts import check_texts, default_budget, slabs

pytestmark = pytest.mark.models


@pytest.mark.parametrize("wrong", [None, b"bytes", 3])
def test_what_is_no_batch_of_texts_is_refused(wrong):
    with pytest.raises(
        TypeError, match=f"texts: expected str or a sequence of str, got {type(wrong).__name__}"
    ):
        check_texts(wrong)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([5], [(0, 1)]),
        ([1, 1, 1, 1, 1], [(0, 3), (3, 5)]),  # at most three texts
        ([6, 5, 5, 1], [(0, 1), (1, 3), (3, 4)]),  # at most ten characters
        ([99, 1, 99], [(0, 1), (1, 2), (2, 3)]),  # one too long for any slab
        ([0, 0, 0, 0], [(0, 3), (3, 4)]),
    ],
)
def test_slabs_cover_everything_within_their_limits(lengths, expected):
    cut = list(slabs(["x" * n for n in lengths], most=3, characters=10))
    assert [(part.start, part.stop) for part in cut] == expected


def test_more_threads_and_accelerators_take_more_at_a_time():
    budgets = [default_budget("cpu", threads) for threads in (1, 2, 64)] + [default_budget("cuda:0", 1)]
    assert budgets == sorted(set(budgets))


@pytest.mark.parametrize("wrong", [None, b"bytes", 3])
def test_an_item_that_is_no_text_is_named(bi, colbert, reranker, wrong):
    message = rf"texts\[1\]: expected str, got {type(wrong).__name__}"
    for call in (
        bi.encode_query,
        bi.encode_document,
        colbert.encode_document,
        lambda texts: reranker.score("q", texts),
        lambda texts: reranker.rank("q", texts),
    ):
        with pytest.raises(TypeError, match=message):
            call(["fine", wrong])


def test_an_item_that_is_no_unicode_is_named(bi, colbert, reranker):
    wrong = "b\ud800"
    for call in (
        bi.encode_query,
        bi.encode_document,
        bi.encode_both,
        colbert.encode_document,
        lambda texts: reranker.score("q", texts),
        lambda texts: reranker.rank("q", texts),
    ):
        with pytest.raises(ValueError, match=r"^texts\[1\]: not valid Unicode: .*position 1: surrogates"):
            call(["fine, \u00fc \U0001f600", wrong])
    for call, name in (
        (lambda: bi.encode_query(wrong), "texts"),
        (lambda: colbert.tokens(wrong), "text"),
        (lambda: reranker.score(wrong, ["fine"]), "query"),
        (lambda: reranker.predict([("fine", "fine"), ("fine", wrong)]), r"documents\[1\]"),
        (lambda: reranker.predict([(wrong, "fine")]), r"queries\[0\]"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: not valid Unicode"):
            call()


def test_progress_goes_to_stderr_and_only_when_wanted(bi, colbert, reranker, capsys):
    texts = ["hello"] * 300  # many, but stderr is no terminal here
    for call in (bi.encode_document, colbert.encode_document, lambda t, **k: reranker.score("q", t, **k)):
        call(texts)
        assert capsys.readouterr() == ("", "")
        call(texts, progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert "300/300" in err
