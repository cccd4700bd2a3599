from __future__ import annotations

import json
import math
from typing import Any

import pytest

from surrogate_nas.errors import RecordError, StudyError, SurrogateFileError
from surrogate_nas.files import checked_json
from surrogate_nas.files.checked_json import (
    canonical,
    damaged,
    finite,
    parse,
    read_as,
    read_bool,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "é"]}, [], "x", 10**30])
def test_what_was_written_is_read(value: Any) -> None:
    assert parse(canonical(value)) == parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ('{"a": 1, "a": 2}', "a name occurs twice"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_no_standard_json_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_numbers_that_are_not_finite_are_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_values_that_are_as_expected_are_returned() -> None:
    assert read_object({"a": 1, "b": 2}, "it", ("a", "b")) == {"a": 1, "b": 2}
    assert read_list([1, 2], "it", most=2, least=2) == [1, 2]
    assert read_whole(3, "it", 3, 3) == 3
    assert read_number(3, "it", 3, 3) == 3.0
    assert read_bool(False, "it") is False
    assert read_text("ab", "it", most=2) == "ab"


@pytest.mark.parametrize(
    ("read", "value", "arguments", "expected"),
    [
        ("object", [], [("a",)], "an object as it"),
        ("object", {}, [("a",)], "the field 'a' in it"),
        ("object", {"a": 1, "b": 2}, [("a",)], "only known fields in it"),
        ("list", {}, [2], "a list as it"),
        ("list", [1, 2, 3], [2], "0 to 2 items as it"),
        ("list", [], [2, 1], "1 to 2 items as it"),
        ("whole", True, [0, 9], "a whole number from 0 to 9 as it"),
        ("whole", 1.0, [0, 9], "a whole number from 0 to 9 as it"),
        ("whole", 10, [0, 9], "a whole number from 0 to 9 as it"),
        ("number", True, [0, 9], "a number from 0 to 9 as it"),
        ("number", "1", [0, 9], "a number from 0 to 9 as it"),
        ("number", math.nan, [0, 9], "a number from 0 to 9 as it"),
        ("number", 10**400, [0, math.inf], "a number from 0 to inf as it"),
        ("bool", 1, [], "true or false as it"),
        ("text", b"a", [], "a text of at most 67108864 characters as it"),
        ("text", "abc", [2], "a text of at most 2 characters as it"),
    ],
)
def test_values_that_are_not_are_refused_by_their_place(
    read: str, value: Any, arguments: list[Any], expected: str
) -> None:
    with pytest.raises(RecordError) as caught:
        getattr(checked_json, f"read_{read}")(value, "it", *arguments)
    assert caught.value.expected == expected
    assert caught.value.got


def test_what_a_file_says_is_cut_short() -> None:
    error = damaged("a" * 1000, {"b": "c" * 1000})
    assert len(error.expected) == 200
    assert len(error.got) < 200


@pytest.mark.parametrize("kind", [StudyError, SurrogateFileError])
def test_a_refusal_becomes_an_error_of_the_callers(kind: Any) -> None:
    with pytest.raises(kind) as caught, read_as(kind, "a note", "write another note"):
        read_bool("yes", "the mark")
    error = caught.value
    assert type(error) is kind
    assert (error.expected, error.got) == ("true or false as the mark in a note", "yes")
    assert error.fix == "write another note"
    assert isinstance(error.__cause__, RecordError)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(KeyError), read_as(StudyError, "a note", "write another note"):
        raise KeyError("a")


@pytest.mark.parametrize("value", [0, -1, 2.5, 2**60])
def test_a_finite_number_is_a_float(value: float) -> None:
    found = finite(value)
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize("value", [None, True, "1", [1], math.nan, math.inf, 10**400, -(10**400)])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert finite(value) is None
