from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import surrogate_nas as sn
from surrogate_nas.attributes import COMMAND
from surrogate_nas.results.dashboard.note import BEGIN, END, code, merged, note
from surrogate_nas.results.summary import summarize
from surrogate_nas.running.study import create_study
from surrogate_nas.spaces import CellSpace
from surrogate_nas.storage.optuna_private import set_study_system_attr, study_system_attrs
from tests.helpers.stored_studies import searched, study_of
from tests.helpers.toys import ToyTask


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


def made(folder: Path, **more: Any) -> optuna.Study:
    storage = f"sqlite:///{folder}/nas.db"
    return create_study(ToyTask(), CellSpace(), storage=storage, study_name="it's", **more)


def test_a_call_continues_a_study_as_it_was_begun(tmp_path: Path) -> None:
    """With its own space, Trainer and arguments; the lines make the same study again."""
    study = made(tmp_path, seed=3, n_candidates=4, limits={"parameters": 1e6})
    study.set_user_attr("trainer", {"epochs": 2, "learning_rate": None, "device": "cuda"})
    said = text(study)

    lines = re.findall(r"```python\n(.*?)```", said, re.DOTALL)[0].splitlines()
    assert "trainer = sn.Trainer(epochs=2)" in lines
    assert repr(study.study_name) in said
    names: dict[str, Any] = {"sn": sn, "task": ToyTask()}
    exec("\n".join(line for line in lines if line.startswith(("space =", "study ="))), names)
    again = names["study"]
    assert len(again._storage.get_all_studies()) == 1
    assert repr(names["space"]) == repr(CellSpace())
    assert study_system_attrs(again)[COMMAND] == (
        'sn.create_study(task, space, study_name="it\'s", n_candidates=4, '
        "limits={'parameters': 1000000.0}, seed=3)"
    )


def test_a_command_line_continues_a_study_as_it_was_begun(tmp_path: Path) -> None:
    """Quoted for a shell; and a database's password is masked."""
    study = made(tmp_path)
    begun = ["surrogate-nas", "search", "--data", "my data.npz", "--name", "it's"]
    set_study_system_attr(study, COMMAND, shlex.join(begun))

    line = re.findall(r"```console\n(.*)\n```", text(study))[0]

    assert shlex.split(line) == [*begun, "--storage", f"sqlite:///{tmp_path}/nas.db"]


def test_other_texts_are_no_commands(tmp_path: Path) -> None:
    study = made(tmp_path)
    for other in ("rm -rf x", 3, None):
        set_study_system_attr(study, COMMAND, other)
        assert "rm -rf" not in text(study)
        assert "sn.create_study(task, space, storage=" in text(study)


def test_the_arguments_that_are_objects_are_named(tmp_path: Path) -> None:
    sampler, pruner = optuna.samplers.RandomSampler, optuna.pruners.MedianPruner()
    study = made(tmp_path, base_sampler=sampler, pruner=pruner, surrogate="pretrained")

    assert study_system_attrs(study)[COMMAND].endswith(
        "surrogate='pretrained', base_sampler=RandomSampler, pruner=MedianPruner(...))"
    )


def test_parameters_of_ready_spaces_have_labels(tmp_path: Path) -> None:
    """In the note, as the dashboard shows the stored names, which stay."""
    assert "| `op_0` | edge in → 1 |" in text(made(tmp_path))
    assert "### Parameters" not in text(searched(2))


def test_the_metric_has_its_name(tmp_path: Path) -> None:
    """In axes and tables; also of a study that an earlier version began, without the name."""
    storage = f"sqlite:///{tmp_path}/nas.db"
    assert made(tmp_path).metric_names == [ToyTask().metric.name]
    optuna.create_study(storage=storage, study_name="old", direction="maximize")
    old = create_study(ToyTask(), CellSpace(), storage=storage, study_name="old")
    assert old.metric_names == [ToyTask().metric.name]


def test_code_has_more_ticks_than_its_text() -> None:
    """As Markdown wants it."""
    assert code("a`b``c") == "```a`b``c```"
    assert code("`") == "`` ` ``"
    assert code("") == "(nothing)"
