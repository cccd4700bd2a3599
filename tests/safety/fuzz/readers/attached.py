"""Surrogates attached to a study: what the study has recorded of one, and the artifact."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
import optuna

from surrogate_nas import MetaSurrogate, PastTask, attach_surrogate, attached_surrogate, attributes
from surrogate_nas.errors import StudyError, SurrogateFileError, SurrogateMismatchError
from tests.helpers.surrogates import draw, signed
from tests.safety.fuzz.mutations import BYTES, Mutation, Rng, deepen, dumps, on_json
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.readers.surrogate import change_text
from tests.safety.fuzz.structures import on_structure, written

_NOBODY = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "nowhere-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
"""Whom a bucket is asked as; nobody answers there."""
_NAMES = ("pipe", "folder", "../artifact", "zero", "stdin", "\x00", "x" * 5000, "", "\ud800")
_FOLDERS = ("/dev", "/proc/self/fd", "nowhere", "\x00", "", "~", "/")
_BUCKETS = ("bucket", "", "../bucket", "a b", "\x00", "x" * 5000)
_ENDPOINTS = ("http://127.0.0.1:9", "127.0.0.1", "file:///etc", "http://[", "", "http://a b", None)


def suggest(trial: optuna.trial.BaseTrial) -> None:
    """A small space: what is inside a surrogate is another reader's matter."""
    trial.suggest_int("width", 1, 8)
    trial.suggest_categorical("kind", ["a", "b"])


@final
class AttachedReader(Reader):
    """``attached_surrogate`` of a study whose record, or whose artifact, is spoilt."""

    name = "attached surrogate"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name; each for its own file."""
        changes = on_json(json.loads, lambda document, _: dumps(document))
        of_record = {
            "record: nested": deepen,
            "record: another file": _another_file,
            "record: a bucket": _a_bucket,
            **{name.replace("JSON", "record"): change for name, change in changes.items()},
        }
        return {
            **{name: _only(False, change) for name, change in BYTES.items()},
            "text of a booster": _only(False, change_text),
            **{name: _only(True, change) for name, change in of_record.items()},
        }

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name; each for the record or for the artifact."""
        record = on_structure(json.loads, lambda document, _: written(document), "record")
        of_record = {**record, "record: another file": _another_file}
        of_artifact = on_structure(json.loads, lambda document, _: signed(document), "artifact")
        changes = [*of_artifact.values(), change_text]

        def either(change: Mutation, other: Mutation) -> Mutation:
            def mutate(data: bytes, rng: Rng) -> bytes:
                return (change if data.startswith(b'{"artifact"') else other)(data, rng)

            return mutate

        pairs = zip(of_record.items(), changes, strict=True)
        return {name: either(change, other) for (name, change), other in pairs}

    def originals(self, folder: Path) -> dict[str, bytes]:
        """A record, and the artifact twice: the hash recorded of the second is made right."""
        os.environ.update(_NOBODY)
        rng = np.random.default_rng(0)
        past = PastTask("past", draw(suggest, 20, rng), rng.random(20).tolist())
        study = optuna.create_study()
        attach_surrogate(study, MetaSurrogate.fit(suggest, [past], seed=0), folder / "store")
        self._record = study.user_attrs[attributes.SURROGATE_ARTIFACT]
        self._artifact = folder / "store" / self._record["artifact"]
        os.mkfifo(folder / "store" / "pipe")
        (folder / "store" / "folder").mkdir()
        artifact = self._artifact.read_bytes()
        return {"record": dumps(self._record), "artifact": artifact, "signed": artifact}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Look for it; what is found predicts finite numbers."""
        record = self._record
        if name == "record":
            try:
                record, data = json.loads(data), files["artifact"]
            except (ValueError, RecursionError):  # no storage could hand this out
                return REFUSED
        elif name == "signed":
            record = {**record, "sha256": hashlib.sha256(data).hexdigest()}
        self._artifact.write_bytes(data)
        study = optuna.create_study()
        study.set_user_attr(attributes.SURROGATE_ARTIFACT, record)
        try:
            found = attached_surrogate(study)
        except (StudyError, SurrogateFileError, SurrogateMismatchError):
            return REFUSED
        if found is None:  # the record is null
            return REFUSED
        params = draw(found.encoding.space, 3, np.random.default_rng(0))
        assert np.isfinite(np.stack(found.predict(params))).all()
        return READ


def _only(is_of_record: bool, change: Mutation) -> Mutation:
    """A mutation of the record, or of the artifact; a few bytes change in the other one."""

    def mutate(data: bytes, rng: Rng) -> bytes:
        is_record = data.startswith(b'{"artifact"')
        return (change if is_record == is_of_record else BYTES["bytes changed"])(data, rng)

    return mutate


def _another_file(data: bytes, rng: Rng) -> bytes:
    """Names of what is no file, or elsewhere."""
    record = json.loads(data)
    record["artifact"] = _NAMES[int(rng.integers(len(_NAMES)))]
    if rng.random() < 0.5:
        record["folder"] = _FOLDERS[int(rng.integers(len(_FOLDERS)))]
    return dumps(record)


def _a_bucket(data: bytes, rng: Rng) -> bytes:
    """A bucket in the place of the folder, anywhere."""
    record = json.loads(data)
    del record["folder"]
    record["bucket"] = _BUCKETS[int(rng.integers(len(_BUCKETS)))]
    record["endpoint"] = _ENDPOINTS[int(rng.integers(len(_ENDPOINTS)))]
    return dumps(record)
