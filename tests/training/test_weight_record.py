"""The record beside a network's weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from surrogate_nas.files.atomic import write_whole
from surrogate_nas.training import weight_record
from surrogate_nas.training.weight_record import UNREADABLE, WeightRecord, weights_path

TENSORS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


@pytest.fixture
def record(tmp_path: Path) -> WeightRecord:
    data = safetensors.torch.save(TENSORS)
    made = WeightRecord(
        path=tmp_path / "new" / "one.json",
        sha256=hashlib.sha256(data).hexdigest(),
        n_bytes=len(data),
        space="Space",
        architecture="key",
        task="fingerprint",
        y=-0.25,
        shapes={name: tuple(tensor.shape) for name, tensor in TENSORS.items()},
    )
    made.write(data)
    return made


def test_a_record_is_read_as_it_was_written(record: WeightRecord) -> None:
    assert WeightRecord.read(record.path, 10_000) == record
    assert torch.equal(record.weights(["a.weight"])["a.weight"], TENSORS["a.weight"])


def test_fields_of_a_file_keep_their_names(record: WeightRecord) -> None:
    """Files that earlier versions wrote have these."""
    document = json.loads(record.path.read_text())
    names = "format schema sha256 n_bytes space architecture task gain shapes"
    assert sorted(document) == sorted(names.split())
    assert document["gain"] == -0.25


def test_only_tensors_of_the_same_name_and_shape_fit(record: WeightRecord) -> None:
    wanted = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(3), "b.bias": torch.zeros(2)}
    assert record.fitting(wanted) == ["a.weight"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("schema", 2), ("format", "other"), ("gain", None), ("shapes", []), ("n_bytes", 10_001)],
)
def test_a_changed_record_is_refused(record: WeightRecord, name: str, value: object) -> None:
    document = {**json.loads(record.path.read_text()), name: value}
    record.path.write_text(json.dumps(document))
    with pytest.raises(UNREADABLE):
        WeightRecord.read(record.path, 10_000)


def test_weights_without_a_record_are_removed(
    record: WeightRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk becomes full between the two files."""
    data = weights_path(record.path).read_bytes()
    write = write_whole

    def fill(path: Path, content: bytes, *, durable: bool) -> None:
        if path.suffix == ".json":
            raise OSError(28, "No space left")
        write(path, content, durable=durable)

    monkeypatch.setattr(weight_record, "write_whole", fill)
    other = dataclasses.replace(record, path=record.path.with_name("other.json"))
    with pytest.raises(OSError, match="No space left"):
        other.write(data)
    assert sorted(path.name for path in record.path.parent.iterdir()) == [
        "one.json",
        "one.safetensors",
    ]
    with pytest.raises(OSError, match="No space left"):
        record.write(data)
    assert record.weights(["a.bias"])  # what was whole before stays
