"""Conditions on metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tercet.integrations.filters import all_of, any_of, compare, none_of

METADATA = {"year": 2020, "name": "Ümit", "tags": ["a", "b"], "none": None, "blank": "", "empty": []}


@pytest.mark.parametrize(
    ("key", "name", "value", "meets"),
    [
        ("year", "==", 2020, True),
        ("year", "==", 2021, False),
        ("year", "!=", 2021, True),
        ("year", "!=", 2020, False),
        ("year", ">", 2019, True),
        ("year", ">", 2020, False),
        ("year", ">=", 2020, True),
        ("year", ">=", 2021, False),
        ("year", "<", 2020.5, True),
        ("year", "<", 2020, False),
        ("year", "<=", 2020, True),
        ("year", "<=", 2019, False),
        ("year", "in", [2019, 2020], True),
        ("year", "in", [2019], False),
        ("year", "nin", [2019], True),
        ("year", "nin", [2020], False),
        ("tags", "any", ["b", "c"], True),
        ("tags", "any", ["c"], False),
        ("tags", "all", ["b", "a"], True),
        ("tags", "all", ["b", "c"], False),
        ("tags", "contains", "a", True),
        ("tags", "contains", "c", False),
        ("name", "text_match", "mit", True),
        ("name", "text_match", "MIT", False),
        ("name", "text_match_insensitive", "ÜM", True),
        ("name", "text_match_insensitive", "x", False),
        ("year", "is_empty", None, False),
        *[(key, "is_empty", None, True) for key in ("none", "blank", "empty", "missing")],
        *[(key, "!=", 1, True) for key in ("none", "missing")],
        *[(key, "nin", [1], True) for key in ("none", "missing")],
        *[(key, name, 1, False) for key in ("none", "missing") for name in ("==", ">", "<=", "contains")],
        *[(key, "==", None, True) for key in ("none", "missing")],
        ("year", "==", None, False),
        ("year", "!=", None, True),
        ("missing", "!=", None, False),
    ],
)
def test_compare(key: str, name: str, value: Any, meets: bool) -> None:
    assert compare(key, name, value)(METADATA) is meets


def test_combinations() -> None:
    yes, no = compare("year", "==", 2020), compare("year", "==", 1)
    for conditions in ([], [yes], [no], [yes, no], [yes, yes]):
        values = [condition(METADATA) for condition in conditions]
        assert all_of(conditions)(METADATA) is all(values)
        assert any_of(conditions)(METADATA) is any(values)
        assert none_of(conditions)(METADATA) is not any(values)


@pytest.mark.parametrize(
    ("key", "name", "value", "error", "message"),
    [
        ("year", "=", 1, ValueError, "expected an operator among ==, .* got '='"),
        ("year", "in", 2020, TypeError, "'in' of 'year' expects a list of values, got 2020"),
        ("year", "any", "abc", TypeError, "'any' of 'year' expects a list of values, got 'abc'"),
        ("name", "text_match", 1, TypeError, "'text_match' of 'name' expects a str, got 1"),
        ("year", "text_match", "1", TypeError, "expects metadata of str, found 2020"),
        ("year", ">", "2019", TypeError, "cannot compare 'year' 2020 by '>' with '2019'"),
        ("year", "contains", 2, TypeError, "cannot compare 'year' 2020 by 'contains' with 2"),
        ("year", "all", [2], TypeError, "cannot compare 'year' 2020 by 'all' with"),
    ],
)
def test_what_does_not_fit_is_an_error(key: str, name: str, value: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        compare(key, name, value)(METADATA)
