"""Pictures of architectures as artifacts of their trials."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import BinaryIO, final

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.files.atomic import write_whole
from surrogate_nas.storage.optuna_private import (
    id_of,
    set_study_system_attr,
    storage_of,
    study_system_attrs,
)
from surrogate_nas.storage.places import folder_beside, is_known, note_given

FILE_NAME = "architecture.svg"


@final
class _WholeFiles(FileSystemArtifactStore):
    """A folder of artifacts that are written as a whole, also when the disk becomes full.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact as a whole or not at all."""
        write_whole(self._folder / artifact_id, content_body.read(), durable=False)


def artifact_folder(study: optuna.Study, chosen: str | Path | None = None) -> Path | None:
    """Return the folder of a study's pictures: the chosen one, or one beside the storage.

    Args:
        study: The study.
        chosen: Folder that the caller chose. None takes the folder of earlier callers, which is
            an attribute of the study, if it is beside the storage's file or was chosen in this
            process.

    Returns:
        The folder; None if none is known, as for a database server.
    """
    if chosen is not None and str(chosen):
        note_given(Path(chosen))
        return Path(chosen)
    storage, recorded = storage_of(study), study.user_attrs.get(attributes.ARTIFACT_FOLDER)
    if isinstance(recorded, str) and recorded and is_known(storage, recorded):
        return Path(recorded)
    return folder_beside(storage, "artifacts")


def add_picture(
    study: optuna.Study, trial: optuna.Trial | FrozenTrial, svg: str, folder: Path
) -> None:
    """Keep a picture in a folder, and tell the storage that it belongs to a trial.

    Args:
        study: The trial's study.
        trial: A running or a finished trial.
        svg: The picture as SVG.
        folder: Folder of the artifacts, made if it is missing.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = _WholeFiles(folder)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FILE_NAME
        path.write_text(svg, encoding="utf-8", errors="replace")
        if isinstance(trial, optuna.Trial):
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)
            return
        # NOTE: Optuna refuses artifacts of finished trials, so the file and its record are
        # written here, in the form that optuna-dashboard reads.
        name = str(uuid.uuid4())
        with path.open("rb") as file:
            store.write(name, file)
    meta = {
        "artifact_id": name,
        "filename": FILE_NAME,
        "mimetype": "image/svg+xml",
        "encoding": None,
    }
    set_study_system_attr(
        study,
        f"{attributes.FINISHED_ARTIFACTS}{id_of(trial)}:{name}",
        json.dumps(meta),
    )


def has_picture(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Return whether a trial has a picture of ours, from while it ran or from later."""
    return not without_picture(study, [trial])


def without_picture(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have no picture of ours yet."""
    attrs = study_system_attrs(study)
    # The names of these attributes have the trial's identity behind their common beginning.
    told = [key for key in attrs if key.startswith(attributes.FINISHED_ARTIFACTS)]
    later = {key.removeprefix(attributes.FINISHED_ARTIFACTS).split(":")[0] for key in told}
    return [
        trial
        for trial in trials
        if str(id_of(trial)) not in later
        and FILE_NAME
        not in {meta.filename for meta in get_all_artifact_meta(trial, storage=storage_of(study))}
    ]
