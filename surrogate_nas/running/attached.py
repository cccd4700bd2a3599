"""Attach a surrogate to a study, as an artifact that every worker finds and checks."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.samplers import BaseSampler

from surrogate_nas import attributes
from surrogate_nas.errors import MissingExtraError, StudyError
from surrogate_nas.files.checked_json import MOST_TEXT
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import SpaceLike
from surrogate_nas.storage.given import require_study
from surrogate_nas.storage.optuna_private import folder_of
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

StoreLike: TypeAlias = Any
"""A folder, or any of Optuna's artifact stores."""


def attach_surrogate(
    study: optuna.Study, surrogate: MetaSurrogate, artifact_store: StoreLike
) -> None:
    """Keep a surrogate with a study, for everybody who continues the study.

    ``create_study`` takes the attached surrogate if no other one is given, and so does each worker
    of :func:`run_workers`. Both compare its SHA-256 with the one that the study has recorded. A
    surrogate that is attached later takes the place of an earlier one, for suggestions to come.

    Args:
        study: Study in a storage.
        surrogate: Fitted surrogate.
        artifact_store: Folder that all machines see under the same path, or one of Optuna's
            artifact stores. The folder is made if it does not exist. A folder's path and an S3
            bucket's name are recorded. Give any other store to :func:`attached_surrogate`, too.

    Raises:
        StudyError: The store cannot be written.
        SurrogateFileError: The space's choices have no form in JSON.
    """
    require_study(study)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{study.study_name.replace(os.sep, '-')}.surrogate"
        surrogate.save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        store, place = _store(artifact_store)
        try:
            identity = upload_artifact(
                artifact_store=store, file_path=str(path), study_or_trial=study
            )
        except Exception as error:  # each store has its own
            raise StudyError(
                expected=f"an artifact store that can be written ({_words(place)})",
                got=f"{type(error).__name__}: {error}",
                fix="check that the folder or bucket exists, and your rights there",
            ) from error
    record = {"artifact": identity, "sha256": digest, **place}
    study.set_user_attr(attributes.SURROGATE_ARTIFACT, record)


def attached_surrogate(
    study: optuna.Study,
    *,
    space: SpaceLike | None = None,
    artifact_store: StoreLike | None = None,
) -> MetaSurrogate | None:
    """Return the surrogate that is attached to a study; None if there is none.

    Args:
        study: The study.
        space: Search space. It is needed if it is one of your own and has features.
        artifact_store: Store of the surrogate, if that is not the recorded one.

    Raises:
        StudyError: The surrogate is missing, or is not the one that was attached.
        SurrogateFileError: The surrogate is damaged, or `space` is needed.
        SurrogateMismatchError: The surrogate was fitted to another space.
    """
    require_study(study)
    record = study.user_attrs.get(attributes.SURROGATE_ARTIFACT)
    if record is None:
        return None
    if not isinstance(record, dict) or not {"artifact", "sha256"} <= set(record):
        raise _refused("a record of one", repr(record))
    given = None if artifact_store is None else _store(artifact_store)[0]
    words = _words(record)
    try:
        store = _recorded_store(record) if given is None else given
        _require_file(store, str(record["artifact"]))
        with store.open_reader(str(record["artifact"])) as reader:
            data = reader.read(MOST_TEXT + 1)  # a longer one has another hash
    except (StudyError, MissingExtraError):
        raise
    except ArtifactNotFound as error:
        raise _refused(f"it in {words}", "nothing of that name there") from error
    except Exception as error:  # each store has its own
        raise _refused(f"it in {words}", f"{type(error).__name__}: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != record["sha256"]:
        got = f"a file with {digest[:16]}…"
        raise _refused(f"one with SHA-256 {str(record['sha256'])[:16]}… in {words}", got)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attached.surrogate"
        path.write_bytes(data)
        return MetaSurrogate.load(path, space=space)


def with_attached(sampler: BaseSampler, study: optuna.Study) -> BaseSampler:
    """Return a sampler with the surrogate of its study, unless it has past tasks of its own.

    Raises:
        StudyError: The attached surrogate is missing, or is not the one that was attached.
        SurrogateMismatchError: The attached surrogate was fitted to another space.
    """
    if (
        not isinstance(sampler, SurrogateSampler)
        or attributes.SURROGATE_ARTIFACT not in study.user_attrs
    ):
        return sampler
    if sampler.surrogate is not None and sampler.surrogate.tasks:
        return sampler
    return sampler.using(attached_surrogate(study, space=sampler.space))


def _refused(expected: str, got: str) -> StudyError:
    """Return the error of an attached surrogate that cannot be used."""
    return StudyError(
        expected=f"the surrogate that is attached to the study: {expected}",
        got=got,
        fix="attach it again with sn.attach_surrogate(study, surrogate, artifact_store)",
    )


def _store(given: StoreLike) -> tuple[Any, dict[str, str]]:
    """Return a store, and the names by which a study records it."""
    if isinstance(given, str | os.PathLike):
        folder = Path(given).resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(
                expected="a folder for artifacts that can be made",
                got=f"{type(error).__name__}: {error}",
                fix="give another one",
            ) from error
        return FileSystemArtifactStore(folder), {"folder": str(folder)}
    if isinstance(given, FileSystemArtifactStore):
        return given, {"folder": str(folder_of(given).resolve())}
    if isinstance(given, Boto3ArtifactStore):
        endpoint = getattr(getattr(given.client, "meta", None), "endpoint_url", None)
        return given, {"bucket": given.bucket, **({"endpoint": endpoint} if endpoint else {})}
    return given, {"store": type(given).__name__}


def _recorded_store(record: dict[str, Any]) -> Any:
    """Open a store by its recorded names. Credentials are never recorded."""
    if "folder" in record:
        return FileSystemArtifactStore(str(record["folder"]))
    if "bucket" in record:
        try:
            import boto3
        except ImportError as error:
            raise MissingExtraError(
                expected="boto3, for a surrogate in an S3 bucket",
                got=str(error),
                fix="run pip install 'surrogate-nas[s3]'",
            ) from error
        client = boto3.client("s3", endpoint_url=record.get("endpoint"))
        return Boto3ArtifactStore(str(record["bucket"]), client)
    raise _refused("an artifact_store to look in", f"none ({_words(record)})")


def _require_file(store: Any, name: str) -> None:
    """Refuse anything but a regular file: reading a pipe or a device may never end.

    Raises:
        StudyError: The name belongs to something else.
    """
    if isinstance(store, FileSystemArtifactStore):
        path = folder_of(store) / name
        if path.exists() and not path.is_file():
            raise _refused(f"a file in {path.parent}", f"{path.name!r}, which is none")


def _words(record: dict[str, Any]) -> str:
    """Return a store's name for people."""
    kept = {name: record[name] for name in ("folder", "bucket", "store") if name in record}
    return ", ".join(f"{name} {value}" for name, value in kept.items()) or "an unknown store"
