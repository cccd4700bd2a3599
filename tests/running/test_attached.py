from __future__ import annotations

import functools
import http.server
import io
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, final

import optuna
import pytest
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

import surrogate_nas as sn
from surrogate_nas import attributes
from surrogate_nas.errors import StudyError, SurrogateMismatchError
from surrogate_nas.running import attached
from surrogate_nas.running.attached import with_attached
from surrogate_nas.storage import places
from surrogate_nas.storage.opening import open_storage
from tests.helpers.surrogates import fitted
from tests.helpers.toys import ToySpace, ToyTask


@functools.cache
def surrogate() -> sn.MetaSurrogate:
    """A surrogate of two past tasks."""
    return fitted(2)


def names(surrogate: sn.MetaSurrogate | None) -> list[Any]:
    return [] if surrogate is None else [task["name"] for task in surrogate.tasks]


def file_of(study: optuna.Study) -> Path:
    record = study.user_attrs[attributes.SURROGATE_ARTIFACT]
    return Path(str(record["folder"])) / str(record["artifact"])


@pytest.mark.parametrize("kind", [str, Path, FileSystemArtifactStore])
def test_a_folder_is_found_by_its_record(
    kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the study has the surrogate, if its folder is beside the storage's file."""
    study = in_file(tmp_path)
    assert sn.attached_surrogate(study) is None
    (tmp_path / "artifacts").mkdir()
    sn.attach_surrogate(study, surrogate(), kind(tmp_path / "artifacts"))
    assert names(sn.attached_surrogate(study, space=ToySpace())) == ["past 0", "past 1"]
    monkeypatch.setattr(attached, "_given", {})  # as in another process
    assert names(sn.attached_surrogate(study, space=ToySpace())) == ["past 0", "past 1"]
    meta = optuna.artifacts.get_all_artifact_meta(study)
    assert [one.artifact_id for one in meta] == [
        study.user_attrs[attributes.SURROGATE_ARTIFACT]["artifact"]
    ]


def test_a_surrogate_that_has_changed_is_refused(tmp_path: Path) -> None:
    """By its hash, before anything in it is read; so is one that is not there."""
    study = optuna.create_study()
    sn.attach_surrogate(study, surrogate(), tmp_path / "new")
    file_of(study).write_bytes(file_of(study).read_bytes() + b" ")
    with pytest.raises(StudyError, match=r"SHA-256 .* in folder .*/new; got a file with .*Attach"):
        sn.attached_surrogate(study)
    file_of(study).unlink()
    with pytest.raises(StudyError, match=r"it in folder .*; got nothing of that name there"):
        sn.attached_surrogate(study)
    study.set_user_attr(attributes.SURROGATE_ARTIFACT, "elsewhere")
    with pytest.raises(StudyError, match="a record of one; got 'elsewhere'"):
        sn.attached_surrogate(study)


def in_file(folder: Path, record: dict[str, Any] | None = None) -> optuna.Study:
    """A study in a journal file of a folder; its record of a surrogate may be anybody's text."""
    study = optuna.create_study(
        storage=open_storage(f"{folder}/nas.journal"), study_name="s", load_if_exists=True
    )
    if record is not None:
        study.set_user_attr(attributes.SURROGATE_ARTIFACT, record)
    return study


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process, in which the user has named no place yet."""
    monkeypatch.setattr(attached, "_given", {})
    monkeypatch.setattr(places, "_given", set())


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    """A study's attributes may be anybody's text."""
    record = {"artifact": "../../etc/passwd", "sha256": "0", "folder": str(tmp_path)}
    with pytest.raises(StudyError, match="ValueError"):
        sn.attached_surrogate(in_file(tmp_path, record))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    record = {"artifact": "pipe", "sha256": "0", "folder": str(tmp_path)}
    with pytest.raises(StudyError, match="'pipe', which is none"):
        sn.attached_surrogate(in_file(tmp_path, record))


PLACES: dict[str, dict[str, Any]] = {
    "a bucket": {"bucket": "b"},
    "an endpoint": {"bucket": "b", "endpoint": "http://127.0.0.1:9/"},
    "a bucket beside a folder": {"bucket": "b", "folder": "."},
    "a folder above": {"folder": ".."},
    "a folder above, named by way of one below": {"folder": "artifacts/../.."},
    "a folder elsewhere": {"folder": "/net/host.example/share"},
    "a folder behind a link": {"folder": "link"},
    "no path": {"folder": "a\0b"},
    "another type": {"folder": ["."]},
    "an address": {"folder": "http://host.example/"},
    "another machine": {"folder": "//host.example/share"},
    "nothing": {},
}


@pytest.mark.parametrize("kind", PLACES)
def test_no_place_that_only_the_storage_names_is_looked_into(
    kind: str, tmp_path: Path, stranger: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an address of the network nor a path away from the storage's file."""
    own = tmp_path / "own"
    (own / "artifacts").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (own / "link").symlink_to(tmp_path / "elsewhere")
    place = dict(PLACES[kind])
    if isinstance(place.get("folder"), str) and "//" not in str(place["folder"]):
        place["folder"] = os.path.join(own, place["folder"])
    study = in_file(own, {"artifact": "a", "sha256": "0", **place})

    def refuse(*_: Any) -> Any:
        raise AssertionError("it was looked into")

    monkeypatch.setattr(FileSystemArtifactStore, "open_reader", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    with pytest.raises(StudyError, match="only the storage names one") as caught:
        sn.attached_surrogate(study)
    assert "artifact_store=" in caught.value.fix
    with pytest.raises(StudyError, match="only the storage names one"):
        with_attached(sn.SurrogateSampler(ToySpace()), study)


def test_a_place_that_the_user_names_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not beside the storage's file, in each process anew."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "own").mkdir()

    def continued(**arguments: Any) -> optuna.Study:
        monkeypatch.setattr(attached, "_given", {})
        place = f"{tmp_path}/own/nas.journal"
        return sn.create_study(ToyTask(), ToySpace(), storage=place, study_name="s", **arguments)

    study = continued()
    sn.attach_surrogate(study, surrogate(), elsewhere)
    assert names(sn.attached_surrogate(study)) == ["past 0", "past 1"]
    with pytest.raises(StudyError, match="only the storage names one"):
        continued()
    sampler = continued(artifact_store=elsewhere).sampler
    assert isinstance(sampler, sn.SurrogateSampler)
    assert names(sampler.surrogate) == ["past 0", "past 1"]


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    study = optuna.create_study()
    with pytest.raises(StudyError, match="a folder for artifacts that can be made"):
        sn.attach_surrogate(study, surrogate(), tmp_path / "file" / "folder")
    with pytest.raises(StudyError, match="an artifact store that can be written"):
        sn.attach_surrogate(study, surrogate(), FileSystemArtifactStore(tmp_path / "none"))
    assert attributes.SURROGATE_ARTIFACT not in study.user_attrs


@final
class OwnStore:
    """A store that only its user can open."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def open_reader(self, artifact_id: str) -> BinaryIO:
        if artifact_id not in self.kept:
            raise ArtifactNotFound("not found")
        return io.BytesIO(self.kept[artifact_id])

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self.kept[artifact_id] = content_body.read()

    def remove(self, artifact_id: str) -> None:
        del self.kept[artifact_id]


class Filling(FileSystemArtifactStore):
    """A folder on a disk that becomes full, or whose user loses patience."""

    def __init__(self, folder: Path, error: BaseException) -> None:
        super().__init__(str(folder))
        self.error = error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        super().write(artifact_id, io.BytesIO(content_body.read(100)))
        raise self.error


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_an_artifact_that_was_not_written_whole_is_removed(
    error: BaseException, tmp_path: Path
) -> None:
    study = optuna.create_study()
    wanted = StudyError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        sn.attach_surrogate(study, surrogate(), Filling(tmp_path, error))
    assert list(tmp_path.iterdir()) == []
    assert attributes.SURROGATE_ARTIFACT not in study.user_attrs


def test_a_store_of_another_kind_is_given_again() -> None:
    study, store = optuna.create_study(), OwnStore()
    sn.attach_surrogate(study, surrogate(), store)
    with pytest.raises(StudyError, match=r"an artifact_store to look in, .*got none \(store OwnS"):
        sn.attached_surrogate(study)
    assert names(sn.attached_surrogate(study, space=ToySpace(), artifact_store=store))


def test_create_study_takes_what_is_attached(tmp_path: Path) -> None:
    """Where no other is given; on any machine."""

    def continued(**arguments: Any) -> optuna.Study:
        place = f"{tmp_path}/nas.journal"
        return sn.create_study(ToyTask(), ToySpace(), storage=place, study_name="s", **arguments)

    study = continued()
    sn.attach_surrogate(study, surrogate(), tmp_path / "artifacts")
    sampler = continued(seed=0).sampler
    assert isinstance(sampler, sn.SurrogateSampler)
    assert names(sampler.surrogate) == ["past 0", "past 1"]
    other = continued(surrogate=fitted(1)).sampler
    assert isinstance(other, sn.SurrogateSampler)
    assert names(other.surrogate) == ["past 0"]
    assert with_attached(other, study) is other
    file_of(study).unlink()
    with pytest.raises(StudyError, match="got nothing of that name there"):
        continued()


def test_a_sampler_may_use_another_surrogate() -> None:
    """As a copy; one of another space is refused."""
    sampler = sn.SurrogateSampler(ToySpace(), seed=0)
    assert names(sampler.using(surrogate()).surrogate) == ["past 0", "past 1"]
    assert names(sampler.surrogate) == []
    assert sn.SurrogateSampler(None).using(None).surrogate is None
    assert names(sn.SurrogateSampler(None).using(surrogate()).surrogate) == ["past 0", "past 1"]
    with pytest.raises(SurrogateMismatchError):
        sampler.using(fitted(1, ToySpace(has_rate=True)))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a stand-in for S3, which keeps objects in memory."""
    pytest.importorskip("boto3", reason="boto3 is absent; it is in the extra 's3'")
    kept: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if "aws-chunked" in self.headers.get("Content-Encoding", ""):
                size, _, rest = data.partition(b"\r\n")
                data = rest[: int(size.split(b";")[0], 16)]
            kept[self.path.split("?")[0]] = data
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            data = kept.get(self.path.split("?")[0])
            body = b"<Error><Code>NoSuchKey</Code></Error>" if data is None else data
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_bucket_is_found_by_its_record(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user has named it; its name and endpoint are recorded, no credentials."""
    import boto3

    study = optuna.create_study()
    client = boto3.client("s3", endpoint_url=s3)
    sn.attach_surrogate(study, surrogate(), Boto3ArtifactStore("surrogates", client))
    record = study.user_attrs[attributes.SURROGATE_ARTIFACT]
    assert {name: record[name] for name in ("bucket", "endpoint")} == {
        "bucket": "surrogates",
        "endpoint": s3,
    }
    assert names(sn.attached_surrogate(study, space=ToySpace())) == ["past 0", "past 1"]
    monkeypatch.setattr(attached, "_given", {})  # as in another process
    with pytest.raises(StudyError, match="only the storage names one"):
        sn.attached_surrogate(study)
    store = Boto3ArtifactStore("surrogates", client)
    assert names(sn.attached_surrogate(study, artifact_store=store)) == ["past 0", "past 1"]
    study.set_user_attr(attributes.SURROGATE_ARTIFACT, {**record, "artifact": "none"})
    with pytest.raises(StudyError, match="it in bucket surrogates; got nothing of that name"):
        sn.attached_surrogate(study)
    client.close()
