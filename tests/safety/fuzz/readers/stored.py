"""What a storage holds under our names: attributes of studies and trials, written by anybody."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
from optuna.trial import TrialState

from surrogate_nas import attributes, create_study, read_history
from surrogate_nas.errors import SurrogateNasError
from surrogate_nas.results.dashboard.note import note
from surrogate_nas.results.diagnosis import diagnose
from surrogate_nas.results.recorded_space import space_of
from surrogate_nas.results.summary import summarize
from surrogate_nas.storage.recovery import recover
from tests.helpers.toys import ToySpace, ToyTask
from tests.safety.fuzz.mutations import BYTES, Mutation, Rng, dumps
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.structures import on_structure, written

_NAME = "stored"
_N_TRIALS = 5


@final
class StoredReader(Reader):
    """Everything that reads a study: the sampler, recovery, the summary, the note, the history."""

    name = "stored attributes"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {"bytes changed": BYTES["bytes changed"], **self.structures}

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name."""
        changes = on_structure(json.loads, lambda document, _: written(document), "attributes")
        return {**changes, "attributes: of the wrong one": _exchanged}

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Of a study with a base sampler's states, a repeat and a trial whose process died."""
        task, space = ToyTask(40), ToySpace()
        self._task, self._space = task, space
        study = create_study(task, space, study_name=_NAME, base_sampler=_base, seed=0)
        for i in range(_N_TRIALS):
            trial = study.ask()
            space.suggest(trial)
            trial.set_user_attr(attributes.TRAIN_SECONDS, 1.0)
            trial.set_user_attr(attributes.PARAMETERS, 10.0)
            if i == 2:
                trial.set_user_attr(attributes.STOP_REASON, attributes.INTERRUPTED)
                study.tell(trial, state=TrialState.FAIL)
            else:
                trial.set_user_attr(attributes.CONTINUES_TRIAL, 2 if i == 3 else i)
                study.tell(trial, 0.5 + i / 10)
        storage, study_id = study._storage, study._study_id
        states = [["MT19937", "AAAA" * 832, 3, 0, 0.0]]
        base: Any = {"number": 1, "states": states, "counters": {"qmc:next": 3}}
        storage.set_study_system_attr(study_id, attributes.BASE_STATE, base)
        lease: Any = {"worker": "a", "since": 1.0, "written": 2}
        storage.set_study_system_attr(study_id, attributes.PUBLISHING, lease)
        for name, value in {
            attributes.TEST_VALUE: 0.5,
            attributes.TEST_USES: 1,
            attributes.TRANSFER: 0.25,
            attributes.PAST_TASK_WEIGHTS: {"a": 0.5},
            attributes.PAST_TASKS_IGNORED: ["b"],
            attributes.TRAINER: {"epochs": 3},
        }.items():
            study.set_user_attr(name, value)
        counters = {"qmc:next": 4}
        document: dict[str, Any] = {
            "user": study.user_attrs,
            "system": storage.get_study_system_attrs(study_id),
            "trials": [
                {"user": t.user_attrs, "system": {**t.system_attrs, attributes.COUNTERS: counters}}
                for t in study.trials
            ],
        }
        for one in document["trials"]:
            one["system"][attributes.LOCK] = str(folder / "running-a.lock")
            one["system"][attributes.FIXED_PARAMS] = {"width": 4}
        self._trials = study.trials
        return {"attributes": dumps(document)}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read the study as all parts do, and go on with it."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):  # no storage could hand this out
            return REFUSED
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=storage, study_name=_NAME, direction="maximize")
        _fill(study, document, self._trials)
        outcome = READ
        steps = (
            lambda: recover(storage, study._study_id),
            lambda: diagnose(summarize(study)),
            lambda: note(study, summarize(study)),
            lambda: space_of(study),
            lambda: _history(storage, self._space),
            lambda: self._go_on(storage),
        )
        for step in steps:
            try:
                step()
            except SurrogateNasError:
                outcome = REFUSED
        return outcome

    def _go_on(self, storage: optuna.storages.BaseStorage) -> None:
        study = create_study(
            self._task,
            self._space,
            storage=storage,
            study_name=_NAME,
            base_sampler=_base,
            n_candidates=4,
            seed=0,
        )
        trial = study.ask()
        self._space.suggest(trial)
        study.tell(trial, 0.5)


def _base(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _history(storage: optuna.storages.BaseStorage, space: ToySpace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for task in read_history(storage, space=space):
            assert np.isfinite(task.values).all()


def _fill(study: optuna.Study, document: Any, trials: list[optuna.trial.FrozenTrial]) -> None:
    """Put attributes into a study and its trials, as far as a storage takes them."""
    storage, study_id = study._storage, study._study_id
    found = document if isinstance(document, dict) else {}
    for key, value in _named(found.get("user")).items():
        storage.set_study_user_attr(study_id, key, value)
    for key, value in _named(found.get("system")).items():
        storage.set_study_system_attr(study_id, key, value)
    given = found.get("trials")
    for trial, attrs in zip(trials, given if isinstance(given, list) else [], strict=False):
        twin = copy.copy(trial)
        own = attrs if isinstance(attrs, dict) else {}
        twin.user_attrs, twin.system_attrs = _named(own.get("user")), _named(own.get("system"))
        fixed = twin.system_attrs.get(attributes.FIXED_PARAMS, {})
        if not isinstance(fixed, dict):  # Optuna's own, which it reads itself
            del twin.system_attrs[attributes.FIXED_PARAMS]
        storage.create_new_trial(study_id, template_trial=twin)


def _named(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _exchanged(data: bytes, rng: Rng) -> bytes:
    """Put one attribute's value under the name of another."""
    document = json.loads(data)
    holders = [document["user"], document["system"]]
    holders += [one[kind] for one in document["trials"] for kind in ("user", "system")]
    holders = [one for one in holders if one]
    one, other = (holders[int(rng.integers(len(holders)))] for _ in range(2))
    key, there = (list(held)[int(rng.integers(len(held)))] for held in (one, other))
    other[there] = one[key]
    return dumps(document)
