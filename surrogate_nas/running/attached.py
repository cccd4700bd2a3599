"""Attach a surrogate to a study, as an artifact that every worker finds and checks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, final

import optuna
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.samplers import BaseSampler

from surrogate_nas import attributes
from surrogate_nas.errors import StudyError
from surrogate_nas.files.checked_json import MOST_TEXT
from surrogate_nas.pretrained import SurrogateLike, as_surrogate
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import SpaceLike
from surrogate_nas.storage.given import require_study
from surrogate_nas.storage.optuna_private import folder_of, storage_of
from surrogate_nas.storage.places import is_known
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

StoreLike: TypeAlias = Any
"""A folder, or any of Optuna's artifact stores."""

_given: dict[frozenset[tuple[str, str]], Any] = {}
"""Stores that the user has named in this process, by the names that a study records of them."""


def attach_surrogate(
    study: optuna.Study, surrogate: SurrogateLike, artifact_store: StoreLike
) -> None:
    """Keep a surrogate with a study, for everybody who continues the study.

    ``create_study`` takes the attached surrogate if no other one is given, and so does each worker
    of :func:`run_workers`. Both compare its SHA-256 with the one that the study has recorded. A
    surrogate that is attached later takes the place of an earlier one, for suggestions to come.

    Args:
        study: Study in a storage.
        surrogate: Fitted surrogate, the path of its file, or "pretrained".
        artifact_store: Folder, or one of Optuna's artifact stores. The folder is made if it does
            not exist. A folder beside the storage's file, or below it, is found by its record.
            Any other place must be named again in another process: see `artifact_store` of
            ``create_study`` and :func:`attached_surrogate`.

    Raises:
        StudyError: The store cannot be written.
        SurrogateFileError: The space's choices have no form in JSON.
    """
    require_study(study)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{study.study_name.replace(os.sep, '-')}.surrogate"
        known = as_surrogate(surrogate, getattr(study.sampler, "space", None))
        if known is None:
            raise StudyError(
                expected="a surrogate to attach", got="None", fix="pass a fitted MetaSurrogate"
            )
        known.save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        store, place = _store(artifact_store)
        try:
            with _whole(store) as watched:
                identity = upload_artifact(
                    artifact_store=watched, file_path=str(path), study_or_trial=study
                )
        except Exception as error:  # each store has its own
            raise StudyError(
                expected=f"an artifact store that can be written ({_words(place)})",
                got=f"{type(error).__name__}: {error}",
                fix="check that the folder or bucket exists, and your rights there",
            ) from error
    _note_given(store, place)
    record = {"artifact": identity, "sha256": digest, **place}
    # NOTE: last, so that a record never names an artifact that is not there yet.
    study.set_user_attr(attributes.SURROGATE_ARTIFACT, record)


@final
class _Watched:
    """An artifact store that remembers what was written.

    Args:
        store: Any of Optuna's stores.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._written: list[str] = []

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact."""
        self._written.append(artifact_id)
        self._store.write(artifact_id, content_body)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact."""
        reader: BinaryIO = self._store.open_reader(artifact_id)
        return reader

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact."""
        self._store.remove(artifact_id)

    def remove_written(self) -> None:
        """Remove all that was written, as far as it is there and can be removed."""
        for artifact_id in self._written:
            with contextlib.suppress(OSError, KeyError, ArtifactNotFound):
                self._store.remove(artifact_id)


@contextlib.contextmanager
def _whole(store: Any) -> Iterator[_Watched]:
    """Lend a store from which an artifact is removed if its upload fails or is interrupted."""
    watched = _Watched(store)
    with contextlib.ExitStack() as undo:
        undo.callback(watched.remove_written)  # Ctrl-C leaves half a file, too
        yield watched
        undo.pop_all()


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
        artifact_store: Store of the surrogate. It is needed if it is no folder beside the
            storage's file, and has not been named in this process before. An address that only
            the storage names is never contacted.

    Raises:
        StudyError: The surrogate is missing, or is not the one that was attached. Or
            `artifact_store` is needed.
        SurrogateFileError: The surrogate is damaged, or `space` is needed.
        SurrogateMismatchError: The surrogate was fitted to another space.
    """
    require_study(study)
    record = study.user_attrs.get(attributes.SURROGATE_ARTIFACT)
    if record is None:
        return None
    if not isinstance(record, dict) or not {"artifact", "sha256"} <= set(record):
        raise _refused("a record of one", repr(record))
    words = _words(record)
    if artifact_store is not None:
        _note_given(*_store(artifact_store))
    try:
        store = (
            _recorded_store(record, study) if artifact_store is None else _store(artifact_store)[0]
        )
        _require_file(store, str(record["artifact"]))
        with store.open_reader(str(record["artifact"])) as reader:
            data = reader.read(MOST_TEXT + 1)  # a longer one has another hash
    except StudyError:
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
        # NOTE: a copy of the bytes whose hash was compared, as the artifact may change.
        path = Path(folder) / "attached.surrogate"
        path.write_bytes(data)
        return MetaSurrogate.load(path, space=space)


def with_attached(
    sampler: BaseSampler, study: optuna.Study, artifact_store: StoreLike | None = None
) -> BaseSampler:
    """Return a sampler with the surrogate of its study, unless it has past tasks of its own.

    Args:
        sampler: The sampler.
        study: The study.
        artifact_store: See :func:`attached_surrogate`.

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
    found = attached_surrogate(study, space=sampler.space, artifact_store=artifact_store)
    return sampler.using(found)


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


def _note_given(store: Any, place: dict[str, str]) -> None:
    """Remember a store that the user has named, unless only its class has a name."""
    if "store" not in place:
        _given[frozenset(place.items())] = store


def _recorded_store(record: dict[str, Any], study: optuna.Study) -> Any:
    """Return the store that a study has recorded, if it is the user's or the storage's own.

    Raises:
        StudyError: Only the storage names that store.
    """
    names = {
        name: str(record[name]) for name in ("folder", "bucket", "endpoint") if name in record
    }
    if (given := _given.get(frozenset(names.items()))) is not None:
        return given
    if set(names) == {"folder"} and is_known(storage_of(study), names["folder"]):
        return FileSystemArtifactStore(names["folder"])
    # NOTE: whoever may write to the storage would otherwise choose the machine that is contacted.
    raise StudyError(
        expected="the surrogate that is attached to the study: an artifact_store to look in, as "
        "only the storage names one that is not beside its file",
        got=f"none ({_words(record)})",
        fix="if that place is yours, pass it as artifact_store= to create_study, or to "
        "attached_surrogate and give the surrogate to the sampler",
    )


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
