from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_nas.results.dashboard.note import BEGIN, END, code, merged, note
from surrogate_nas.results.summary import summarize
from tests.helpers.stored_studies import searched, study_of


def text(study: optuna.Study) -> str:
    return note(study, summarize(study))


def test_a_note_says_what_it_should() -> None:
    """Task, state, worth, provenance, how to resume and how to reuse."""
    study = searched(12)
    study.set_user_attr("task", "pets")
    study.set_user_attr("meta_features", {"n_classes": 2.0, "odd": "text"})
    study.set_user_attr("surrogate", "file cells.surrogate, SHA-256 abc…; 7 past tasks")
    study.set_user_attr("test_value", 0.75)
    said = text(study)

    for words in (
        "## Search on `pets`",
        "**Best so far:** trial 11, `cats` **13** after 12 trainings",
        "**Test value of the final network:** 0.75",
        "rank correlation +0.9",
        "in their 50% interval",
        "Screened 192 candidates",
        "file cells.surrogate, SHA-256 abc…",
        "| `n_classes` | 2 |",
        "study_name='numbers'",
        "sn.read_history(",
    ):
        assert words in said
    assert "odd" not in said


def test_where_the_surrogate_does_not_help_it_says_so() -> None:
    """With what to do about it."""
    study = searched(6)
    study.set_user_attr("past_tasks_ignored", ["cats", "dogs"])

    assert (
        "> **Where the surrogate does not help.** After 6 results this task resembles none"
        in text(study)
    )
    assert "does not help" not in text(searched(6))


def test_plain_studies_have_a_note() -> None:
    """Empty, or with several objectives."""
    assert "No completed trial yet" in text(study_of([]))
    several = optuna.create_study(directions=["maximize", "minimize"])
    assert "Several objectives" in note(several, None)


def test_what_people_wrote_is_kept() -> None:
    """Before our part, after it, and where there was none."""
    first = merged("Mine.", "ours")
    assert first.startswith("Mine.\n\n" + BEGIN)
    second = merged(first + "\n\nAlso mine.", "new")

    assert second.startswith("Mine.")
    assert second.endswith("Also mine.")
    assert "ours" not in second
    assert second.count(BEGIN) == second.count(END) == 1


@given(st.text(), st.text(), st.text())
def test_merging_again_changes_only_our_part(before: str, first: str, second: str) -> None:
    """Whatever the texts are, backslashes included."""
    once = merged(before, "a " + first.replace(END, ""))
    twice = merged(once, "b " + second.replace(END, ""))

    assert merged(twice, "b " + second.replace(END, "")) == twice
    assert twice.split(BEGIN)[0] == once.split(BEGIN)[0]


@pytest.mark.parametrize("name", ["<script>x</script>", "a`b``c", "`", "x" * 900, "a|b\n| c"])
def test_names_cannot_leave_their_place(name: str) -> None:
    """They stand in code spans and in one cell of a table."""
    study = optuna.create_study(study_name=name)
    study.set_user_attr("task", name)
    study.set_user_attr("metric", name)
    said = text(study)

    assert len(said) < 4000
    assert code(name) in said
    assert "\n| c" not in said


def test_code_has_more_ticks_than_its_text() -> None:
    """As Markdown wants it."""
    assert code("a`b``c") == "```a`b``c```"
    assert code("`") == "`` ` ``"
    assert code("") == "(nothing)"
