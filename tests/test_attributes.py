from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import optuna
import pytest

import surrogate_nas
from surrogate_nas import attributes
from surrogate_nas.attributes import ATTRIBUTES, Attribute
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ToySpace, ToyTask

PACKAGE = Path(surrogate_nas.__file__).parent
PAGE = PACKAGE.parent / "docs" / "results.md"

WRITERS = {"set_user_attr": 0, "set_system_attr": 0}
WRITERS |= {
    f"set_{owner}_{kind}_attr": 1 for owner in ("study", "trial") for kind in ("user", "system")
}
FUNCTIONS = {"set_study_system_attr": 1, "set_trial_system_attr": 2, "set_trial_user_attr": 2}
"""Functions of storage/optuna_private that write an attribute by its name."""
HELPERS = {"number": 1, "total": 1}
"""Functions of results/ that read an attribute by its name."""
GETTERS = re.compile(r"(get_)?(study|trial)_(user|system)_attrs")

COMPUTED = {
    "space/draw": {"set_user_attr"},  # a trial without a study
    "past/readers/sql": {"_study"},  # only what its caller asks for
    "results/summary": {"number", "total"},  # helpers, whose calls are checked
    "results/report/content": {"_numbers"},
    "running/objective": {"_train"},  # quantities of space.describe
    "running/processes/remote_trial": {"set_user_attr"},  # hands on what a worker says
    "running/study": {"_mark"},
    "samplers/trial_draws": {"choose"},  # Choice.attributes, study_attributes
    "samplers/continued": {"_set_counters"},  # of the base sampler
    "screening/base_proposals": {"__init__", "advance_counters"},  # of the base sampler
    "storage/optuna_private": set(FUNCTIONS),
    "storage/recovery": {"requeue"},  # what a repeat has of the trial that it repeats
}
"""Functions whose names of attributes are variables, by module."""


def constants() -> dict[str, str]:
    """Constants of the module that are names of attributes."""
    apart = {"INTERRUPTED", "SET_ASIDE"}  # values
    return {
        name: value
        for name, value in vars(attributes).items()
        if name.isupper() and isinstance(value, str) and name not in apart
    }


def test_no_two_constants_have_one_value() -> None:
    counts = Counter(constants().values())
    assert [value for value, n in counts.items() if n > 1] == []


def test_no_attribute_is_recorded_twice() -> None:
    counts = Counter((owner, one.kind, one.name) for one in ATTRIBUTES for owner in one.of)
    assert [key for key, n in counts.items() if n > 1] == []


def test_every_constant_is_recorded_with_type_writer_and_reader() -> None:
    named = [one for one in ATTRIBUTES if not one.name.startswith("<")]
    assert {one.name for one in named} == set(constants().values())
    assert all(one.type and one.writer and one.reader for one in ATTRIBUTES)


@pytest.mark.parametrize("one", ATTRIBUTES, ids=lambda one: one.name)
def test_the_recorded_modules_exist(one: Attribute) -> None:
    for word in re.findall(r"[a-z_]+(?:\.[a-z_]+)*", f"{one.writer}, {one.reader}"):
        if (PACKAGE / word.split(".")[0]).is_dir():
            path = PACKAGE / word.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), word


def functions(tree: ast.Module) -> Iterator[tuple[str, list[ast.AST]]]:
    """Every function with its own nodes, and what stands outside of functions."""
    inner: set[int] = set()
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for function in sorted(found, key=lambda one: -one.lineno):  # nested ones first
        nodes = [n for n in ast.walk(function) if id(n) not in inner]
        inner |= {id(n) for n in nodes}
        yield function.name, nodes
    yield "", [n for n in ast.walk(tree) if id(n) not in inner]


def name_of(function: ast.expr) -> str:
    """Name of a function or method."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def are_attributes(node: ast.AST, aliases: set[str]) -> bool:
    """Whether an expression is the attributes of a study or trial."""
    if isinstance(node, ast.Attribute):
        return node.attr in ("user_attrs", "system_attrs")
    if isinstance(node, ast.Call):
        return bool(GETTERS.fullmatch(name_of(node.func)))
    return isinstance(node, ast.Name) and node.id in aliases


def aliases_of(nodes: Iterable[ast.AST]) -> set[str]:
    """Local names of the attributes of a study or trial."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.arg) and node.arg == "attrs":
            found.add(node.arg)
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            found |= {
                a.id for a, b in pairs if isinstance(a, ast.Name) and are_attributes(b, set())
            }
    return found


def keys(nodes: Iterable[ast.AST], takers: Mapping[str, int]) -> Iterator[ast.expr]:
    """What is used as the name of an attribute.

    Args:
        nodes: Of a function.
        takers: Position of such a name among the arguments of functions that are no methods.
    """
    nodes = list(nodes)
    aliases = aliases_of(nodes)
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from keys_of_call(node, aliases, takers)
        elif isinstance(node, ast.Subscript) and are_attributes(node.value, aliases):
            yield node.slice
        elif (
            isinstance(node, ast.Compare)
            and isinstance(node.ops[0], ast.In | ast.NotIn)
            and are_attributes(node.comparators[0], aliases)
        ):
            yield node.left
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id in aliases:
                yield from (key for key in node.value.keys if key is not None)


def keys_of_call(
    node: ast.Call, aliases: set[str], takers: Mapping[str, int]
) -> Iterator[ast.expr]:
    function = node.func
    place = (WRITERS if isinstance(function, ast.Attribute) else takers).get(name_of(function))
    if place is not None and len(node.args) > place:
        yield node.args[place]
    is_read = isinstance(function, ast.Attribute) and function.attr in ("get", "pop", "setdefault")
    if is_read and are_attributes(function.value, aliases):  # type: ignore[attr-defined]
        yield node.args[0]
    for keyword in node.keywords:
        if keyword.arg in ("user_attrs", "system_attrs") and isinstance(keyword.value, ast.Dict):
            yield from (key for key in keyword.value.keys if key is not None)


def is_constant(node: ast.expr) -> bool:
    """Whether an expression is a constant of the module, or begins with one."""
    if isinstance(node, ast.JoinedStr) and node.values:
        first = node.values[0]
        return isinstance(first, ast.FormattedValue) and is_constant(first.value)
    if isinstance(node, ast.Name) and node.id in constants():
        return True
    owner = getattr(node, "value", None)
    is_ours = isinstance(owner, ast.Name) and owner.id == "attributes"
    return isinstance(node, ast.Attribute) and is_ours and node.attr in constants()


def strangers(source: str, module: str) -> list[str]:
    """Names of attributes in a module that are no constants."""
    found = []
    takers = FUNCTIONS | (HELPERS if module.startswith("results/") else {})
    for function, nodes in functions(ast.parse(source)):
        is_computed = function in COMPUTED.get(module, ())
        for key in keys(nodes, takers):
            if not is_constant(key) and not (is_computed and isinstance(key, ast.Name)):
                found.append(f"{function}: {ast.unparse(key)}")
    return found


def test_no_other_string_is_an_attribute() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE).with_suffix(""))
        found[module] = strangers(path.read_text(encoding="utf-8"), module)
    assert len(found) > 100
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "study.set_user_attr('seed', 1)",
        "trial.set_system_attr(NAME, 1)",
        "storage.set_trial_user_attr(trial_id, 'seed', 1)",
        "storage.set_study_system_attr(study_id, f'{prefix}seed', 1)",
        "trial.user_attrs['seed']",
        "trial.user_attrs.get('seed')",
        "'seed' in trial.system_attrs",
        "known, n = study.user_attrs, 1\n    known.get('seed')",
        "storage.get_study_system_attrs(study_id).get('seed')",
        "set_study_system_attr(study, 'seed', 1)",
        "set_trial_user_attr(study, trial, 'seed', 1)",
        "study_system_attrs(study).get('seed')",
        "study.enqueue_trial({}, user_attrs={'seed': 1})",
        "number(trial, 'seed')",
    ],
)
def test_a_string_would_be_found(line: str) -> None:
    source = f"def some(trial):\n    {line}\n"
    assert len(strangers(source, "results/some")) == 1
    for written in ("f'{prefix}seed'", "'seed'", "NAME"):
        source = source.replace(written, "attributes.SEED")
    assert strangers(source, "results/some") == []


def past_task(space: ToySpace) -> PastTask:
    params = random_params(space.suggest, 12, np.random.default_rng(0))
    return PastTask("past", params, [float(one["width"]) for one in params])


def unknown(found: Iterable[str], owner: str, kind: str) -> set[str]:
    """Names that have no record."""
    fitting = [one for one in ATTRIBUTES if owner in one.of and one.kind == kind]
    names = {one.name for one in fitting if not one.is_family}
    begins = tuple(one.name for one in fitting if one.is_family)
    return {name for name in found if name not in names and not name.startswith(begins)}


def test_a_search_writes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task, space, trainer = ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=32)
    study = create_study(
        task,
        space,
        storage=f"sqlite:///{tmp_path}/nas.db",
        study_name="a",
        surrogate=MetaSurrogate.fit(space, [past_task(space)]),
        seed=0,
    )
    study.optimize(Objective(task, space, trainer, checkpoints=tmp_path / "c"), n_trials=2)
    described = space.for_task(task).describe(space.from_params(study.best_params))
    of_trials = {name for trial in study.trials for name in trial.user_attrs}
    assert unknown(of_trials - set(described), "trial", "user") == set()
    assert unknown(study.user_attrs, "study", "user") == set()
    assert {attributes.TRANSFER, attributes.STOP_REASON, attributes.EPOCHS} <= of_trials
    assert {attributes.TASK, attributes.TRAINER, attributes.SEED} <= set(study.user_attrs)


def test_an_unknown_name_is_found() -> None:
    study = optuna.create_study()
    study.set_user_attr("another", 1)
    assert unknown(study.user_attrs, "study", "user") == {"another"}


def test_the_page_on_results_lists_all() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for owner in ("trial", "study"):
        for kind in ("user", "system"):
            table = section(text, f"{kind.capitalize()} attributes of a {owner}")
            listed = set(re.findall(r"`([^`]+)`", "\n".join(row.split("|")[1] for row in table)))
            fitting = {one.name for one in ATTRIBUTES if owner in one.of and one.kind == kind}
            assert listed == fitting


def section(text: str, title: str) -> list[str]:
    """Rows of the table below a heading."""
    lines = text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    return [line for line in lines if line.startswith("| `")]
