from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from surrogate_nas.files.svg import Drawing, choices_table, shortened
from tests.helpers.pictures import NAMESPACE, words_of


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_picture_that_can_be_parsed(title: str, name: str, value: str) -> None:
    """Markup, quotes, control characters and lone surrogates do no harm."""
    svg = choices_table(title, [(name, value)], value)

    root = ElementTree.fromstring(svg)
    assert root.tag == f"{NAMESPACE}svg"
    assert {child.tag for child in root.iter()} <= {
        f"{NAMESPACE}{tag}"
        for tag in ("svg", "title", "desc", "defs", "marker", "path", "rect", "text")
    }


def test_a_table_shows_names_and_values_in_order() -> None:
    """Floats are rounded, booleans are words, lists are joined."""
    svg = choices_table("T", [("a", 0.123456), ("b", True), ("c", [1, 2]), ("d", None)], "w")

    assert words_of(svg) == ["T", "a", "0.1235", "b", "yes", "c", "1, 2", "d", "None"]


def test_long_names_and_many_rows_are_cut_and_it_is_said() -> None:
    """A picture stays of a size that can be looked at."""
    svg = choices_table("T" * 900, [("n" * 500, "v" * 500)] * 100, "w")

    root = ElementTree.fromstring(svg)
    assert float(root.get("width", "")) < 1000
    assert float(root.get("height", "")) < 1200
    assert "… and 60 more" in words_of(svg)
    assert max(map(len, words_of(svg))) == 48


def test_a_picture_says_what_it_shows() -> None:
    """A title and a description stand in for it."""
    root = ElementTree.fromstring(Drawing('a "title" <b>', "words & more").svg(10, 20))

    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "title" <b>'
    assert root.findtext(f"{NAMESPACE}desc") == "words & more"
    assert root.get("viewBox") == "0 0 10 20"


def test_words_are_shortened_only_where_they_are_long() -> None:
    """Line breaks become spaces."""
    assert shortened("a\n b", 3) == "a b"
    assert shortened("abcd", 3) == "ab…"
