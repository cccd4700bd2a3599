"""The command ``finalize``: a final network from a stored study, with the study's own settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import surrogate_nas as sn
from surrogate_nas import attributes, domains
from surrogate_nas.cli import arguments as shared
from surrogate_nas.cli.search import add_folder, finish
from surrogate_nas.cli.show import load_study, print_summary
from surrogate_nas.cli.stored import begun_with
from surrogate_nas.domains import Domain
from surrogate_nas.errors import StudyError, TrainingError

if TYPE_CHECKING:
    import optuna


def add_command(commands: shared.Commands, domain: Domain) -> None:
    """Add ``finalize`` to the parser."""
    finalize = commands.add_parser(
        "finalize",
        help="retrain, test and export the best architecture of a study",
        description="Retrain the best architecture of a study on training and validation data, "
        "test it once, and write a folder that can be used without this package. Data, metric, "
        "space and training are those of the study.",
    )
    shared.add_data(finalize, domain, of_study=True)
    shared.add_space(finalize.add_argument_group("search space"), domain, of_study=True)
    shared.add_training(finalize, of_study=True)
    where = finalize.add_argument_group("study and result")
    shared.add_stored_study(where)
    add_folder(where)
    finalize.set_defaults(run=_finalize)


def _finalize(arguments: argparse.Namespace) -> None:
    """Retrain, test and export the best architecture of a stored study."""
    study = load_study(arguments.storage, arguments.name)
    begun = begun_with(study)
    space, trainer = _space(study, arguments, begun), _trainer(study, arguments)
    task = _task(study, arguments, begun)
    print_summary(sn.summarize(study), finish(study, task, space, trainer, arguments.folder))


def _space(
    study: optuna.Study, arguments: argparse.Namespace, begun: argparse.Namespace | None
) -> sn.SearchSpace:
    """Return the search space of a study; refuse another one."""
    from surrogate_nas.results.recorded_space import recorded_space

    domain = domains.named(_domain(arguments, begun))
    names = {place.partition(":")[2]: short for short, place in domain.spaces.items()}
    found = str(study.user_attrs.get(attributes.SPACE, ""))
    if arguments.space is not None and found:
        wanted = domain.spaces[arguments.space].partition(":")[2]
        _require_same(study, "--space", names.get(found, found), arguments.space, found, wanted)
    recorded = recorded_space(study)
    if recorded is None:
        name = arguments.space or names.get(found)
        options = domain.space_options.get(str(name), ())
        if found and options:
            # NOTE: never taken from the study, as these arguments may name code that is run.
            return shared.space(_with_options(study, arguments, str(name), options))
        if found or arguments.space is None:
            raise StudyError(
                expected=f"a study of a ready space ({', '.join(domain.spaces)})",
                got=f"study {study.study_name!r} of {found or 'no recorded space'}",
                fix="call sn.finalize(study, task, space, trainer) in Python, with your space",
            )
        return shared.space(arguments)
    searched = bool((recorded.config() or {}).get("search_training"))
    if arguments.search_training and not searched:
        _require_same(study, "--search-training", None, True)
    return recorded


def _with_options(
    study: optuna.Study,
    arguments: argparse.Namespace,
    name: str,
    options: Sequence[domains.Option],
) -> argparse.Namespace:
    """Return the arguments with the study's space; refuse them without what that space needs."""
    missing = [one.flag for one in options if vars(arguments)[one.argument] is None]
    if missing:
        raise StudyError(
            expected=f"{missing[0]} again, as the search of study {study.study_name!r} had it",
            got=f"no {missing[0]}",
            fix="repeat it: a storage cannot be trusted to name code that is run",
        )
    merged = argparse.Namespace(**vars(arguments))
    merged.domain, merged.space = merged.domain or domains.DEFAULT, name
    return merged


def _trainer(study: optuna.Study, arguments: argparse.Namespace) -> sn.Trainer:
    """Return the Trainer of a study, with the settings that are given in their place."""
    given = shared.training_settings(arguments)
    stored = study.user_attrs.get(attributes.TRAINER)
    names = {each.name for each in fields(sn.Trainer)} - {"device"}
    own: Mapping[str, Any] = stored if isinstance(stored, dict) else {}
    own = {name: value for name, value in own.items() if name in names}
    for name, value in given.items():
        if name in own and own[name] != value:
            flag = shared.TRAINING_FLAGS[name]
            shared.say(f"Retraining with {flag} {value}; the study's trainings had {own[name]}.")
    try:
        base = sn.Trainer(**own)
    except (TypeError, TrainingError):
        base = sn.Trainer()  # NOTE: other programs may store anything under that name
    return base.override(**given)


def _task(
    study: optuna.Study, arguments: argparse.Namespace, begun: argparse.Namespace | None
) -> sn.Task:
    """Return the task of a study, from the data that are given or that its search named."""
    merged = argparse.Namespace(**vars(arguments))
    merged.domain = _domain(arguments, begun)
    merged.data = arguments.data or (begun and begun.data)
    if merged.data is None:
        raise StudyError(
            expected="--data, as a study that was begun in Python does not say where its data are",
            got="no --data",
            fix=f"give --data the data of study {study.study_name!r}",
        )
    recorded = study.user_attrs.get(attributes.METRIC)
    if arguments.metric is not None and isinstance(recorded, str):
        _require_same(study, "--metric", recorded, arguments.metric)
    merged.metric = recorded or arguments.metric or domains.named(merged.domain).metric
    for option in domains.named(merged.domain).options:
        own = vars(begun).get(option.argument) if begun else None
        given = vars(arguments).get(option.argument)
        if begun and given is not None and arguments.data in (None, begun.data):
            is_flag = option.metavar is None
            _require_same(
                study, option.flag, own is not None if is_flag else own, is_flag or given
            )
        vars(merged)[option.argument] = own if given is None else given
    return shared.task(merged)


def _domain(arguments: argparse.Namespace, begun: argparse.Namespace | None) -> str:
    """Return the name of the domain that is given, or of the one that a search was begun with."""
    return str(arguments.domain or (begun and begun.domain) or domains.DEFAULT)


def _require_same(
    study: optuna.Study, flag: str, own: Any, given: Any, own_name: str = "", name: str = ""
) -> None:
    """Refuse a setting of the command line that is not the study's."""
    if own == given:
        return
    found = f"no {flag}" if own in (None, False, "") else f"{flag} {own}"
    said = flag if given is True else f"{flag} {given}"
    raise StudyError(
        expected=f"{found}{own_name and f' ({own_name})'}, as study {study.study_name!r} has it",
        got=f"{said}{name and f' ({name})'}",
        fix=f"leave {flag} out, or search a study with it",
    )
