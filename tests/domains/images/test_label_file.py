"""A table of files and labels beside the images: columns are found, splits and kinds are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from surrogate_nas.errors import TaskError
from surrogate_nas.tasks import from_folder, load
from tests.helpers.photos import on_demand, photo, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty images in a folder below, named after their shade."""
    for number in range(40):
        save(tmp_path / "data" / "images" / f"{number:03}.png", photo(5 * number, (8, 8), number))
    return tmp_path / "data"


def table(folder: Path, head: str, line: Any, name: str = "labels.csv") -> Path:
    rows = [head, *(line(number) for number in range(40))]
    (folder / name).write_text("\n".join(rows))
    return folder / name


def shades(split: Any) -> list[int]:
    """The number of each image, by its brightness."""
    images = split.take(torch.arange(len(split)))[0]
    darkest: list[int] = (images.flatten(1).float().amin(1) / 5).round().int().tolist()
    return darkest


def parts(task: Any) -> list[Any]:
    return [task.train, task.validation, task.test]


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("path,label", "images/{0:03}.png,{1}"),
        ("label;file", "{1};images/{0:03}.png"),
        ("id\tclass\tcomment", "{0:03}\t{1}\tfine"),
        ("Image Name,Label", "{0:03}.png,{1}"),
        ("what,label", "./images/{0:03}.png, {1}"),
    ],
)
def test_columns_of_files_and_labels_are_found(folder: Path, head: str, line: str) -> None:
    path = table(folder, head, lambda n: line.format(n, "dog" if n >= 20 else "cat"))
    task = from_folder(folder, labels=path)
    assert task.classes == ("cat", "dog")
    for split in parts(task):
        assert [shade >= 20 for shade in shades(split)] == [bool(t) for t in split.targets]


def test_labels_csv_is_read_without_being_named(folder: Path) -> None:
    table(folder, "path,label", lambda n: f"images/{n:03}.png,{n % 2}")
    task = load(folder)
    assert task.classes == ("0", "1")
    assert task.fingerprint == from_folder(folder, labels="labels.csv").fingerprint
    assert on_demand(folder).classes == ("0", "1")


def test_another_table_in_a_folder_of_classes_is_let_be(folder: Path) -> None:
    save(folder / "more" / "0.png", photo(9, (8, 8)))
    for content in ("a,b\n1,2", "path,label\nnothing.png,1", "path,path\n1,2", "\0"):
        (folder / "labels.csv").write_text(content)
        with pytest.raises(TaskError, match="1 rows of class 'more'"):
            from_folder(folder)


def test_numbers_are_numbers_to_predict(folder: Path) -> None:
    table(folder, "path,label", lambda n: f"images/{n:03}.png,{n / 7}")
    task = from_folder(folder)
    assert (task.metric.name, task.n_outputs, task.classes) == ("rmse", 1, ())
    for split in parts(task):
        assert split.targets.tolist() == pytest.approx([s / 7 for s in shades(split)], rel=1e-5)
    assert from_folder(folder, kind="regression", metric="mae").metric.name == "mae"


def test_several_columns_are_several_numbers_with_their_names(folder: Path) -> None:
    table(folder, "path,width,height", lambda n: f"images/{n:03}.png,{n},{n / 3}")
    task: Any = from_folder(folder, target=["height", "width"])
    assert task.n_outputs == 2
    assert task.kind.outputs == ("height", "width")
    assert task.train.targets[:, 1].tolist() == shades(task.train)
    same = from_folder(folder, kind="regression", target="height,width")
    assert same.fingerprint == task.fingerprint


@pytest.mark.parametrize(
    ("head", "line", "options"),
    [
        ("path,dark,even", "images/{0:03}.png,{1},{2}", {"target": "dark,even"}),
        ("path,dark,even", "images/{0:03}.png,{1},{2}", {"kind": "multilabel"}),
        ("path,tags", "images/{0:03}.png,{3}", {"kind": "multilabel"}),
    ],
)
def test_several_labels_are_columns_or_names_in_one(
    folder: Path, head: str, line: str, options: Any
) -> None:
    def words(n: int) -> str:
        names = "|".join(["dark"] * (n < 15) + ["even"] * (n % 2 == 0))
        return line.format(n, int(n < 15), int(n % 2 == 0), names)

    table(folder, head, words)
    task = from_folder(folder, **options)
    assert task.classes == ("dark", "even")
    assert task.metric.name == "mean_average_precision"
    for split in parts(task):
        wanted = [[float(s < 15), float(s % 2 == 0)] for s in shades(split)]
        assert split.targets.tolist() == wanted


def test_a_column_says_the_split(folder: Path) -> None:
    names = ["train", "Valid", "test", "training"]
    table(folder, "path,label,split", lambda n: f"images/{n:03}.png,{n // 4 % 2},{names[n % 4]}")
    task = from_folder(folder)
    assert [len(split) for split in parts(task)] == [20, 10, 10]
    assert {shade % 4 for shade in shades(task.test)} == {2}


def test_folders_of_splits_say_the_split(tmp_path: Path) -> None:
    lines = ["path,label"]
    for part, n in (("train", 8), ("val", 4), ("test", 4)):
        for number in range(n):
            save(tmp_path / part / f"{number}.png", photo(number, (8, 8)))
            lines.append(f"{part}/{number}.png,{number % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    assert [len(split) for split in parts(from_folder(tmp_path))] == [8, 4, 4]


def test_columns_of_groups_and_times_split(folder: Path) -> None:
    table(
        folder,
        "path,label,patient,taken",
        lambda n: f"images/{n:03}.png,{n % 2},p{n // 4},2024-01-{1 + n % 28:02}",
    )
    grouped = from_folder(folder, groups="patient")
    found = [{shade // 4 for shade in shades(split)} for split in parts(grouped)]
    assert sum(map(len, found)) == 10
    late = from_folder(folder, times="taken", target="label")
    days = [[shade % 28 for shade in shades(split)] for split in parts(late)]
    assert max(days[0]) < min(days[1]) <= max(days[1]) < min(days[2])


# Refusals


def refused(folder: Path, message: str, **options: Any) -> None:
    with pytest.raises(TaskError, match=message):
        from_folder(folder, labels=folder / "labels.csv", **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got 0 lines"),
        (b"path,label\n", "got 1 lines"),
        (b"path,label\na.png\n", "1 values in line 2 for 2 names"),
        (b"path,path\na,b\n", "columns of one name"),
        (b"path,label\n\xff\xfe,1\n", "no UTF-8"),
        (b"path,label\nnowhere.png,1\n", "a column of paths of images"),
        (b"path\nimages/000.png\n", "one column of labels.*no other column"),
        (b"path,a,b\nimages/000.png,1,2\n", "one column of labels.*a, b"),
        (b"path,label\nimages/000.png,1\n./images/000.png,2\n", "1 files several times"),
        (b"path,label,split\nimages/000.png,1,future\n", "the column 'split'.*'future'"),
        (b"path,label,split\nimages/000.png,1,test\n", "no row for train"),
        (
            b"path,label\nimages/000.png,1\nimages/gone.png,2\n",
            "1 unreadable: no file images/gone",
        ),
        (b"path,label\nimages/000.png,a\nimages/001.png,\n", "1 missing labels"),
    ],
)
def test_unusable_tables_are_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "labels.csv").write_bytes(content)
    refused(folder, message)


def test_unusable_columns_are_refused(folder: Path) -> None:
    table(folder, "path,label,age", lambda n: f"images/{n:03}.png,{n % 2},{n or ''}")
    refused(folder, "a column among path, label, age; got 'colour'", target="colour")
    refused(folder, "a column among .* got 'clinic'", groups="clinic")
    refused(folder, "numbers in column 'age'; got '' in row 1", target="age", kind="regression")
    refused(folder, "1 missing, the first at index 0", groups="age", target="label")
    refused(folder / "nothing", "no folder at")
    with pytest.raises(TaskError, match="a CSV file of images and labels"):
        from_folder(folder, labels="nothing.csv")


@pytest.mark.parametrize("argument", ["target", "groups", "times"])
def test_columns_need_a_table(folder: Path, argument: str) -> None:
    save(folder / "other" / "0.png", photo(9, (8, 8)))
    with pytest.raises(TaskError, match=f"which has the column of {argument}"):
        load(folder, **{argument: "x"})


def test_missing_files_are_skipped_if_that_is_wanted(folder: Path) -> None:
    path = table(folder, "path,label", lambda n: f"images/{n:03}.png,{n % 2}")
    path.write_text(path.read_text() + "\nimages/gone.png,1")
    with pytest.warns(UserWarning, match=r"1 unreadable: no file images/gone\.png"):
        task = from_folder(folder, on_unreadable="skip")
    assert sum(map(len, parts(task))) == 40


def test_no_path_leads_out_of_the_folder(folder: Path) -> None:
    outside = save(folder.parent / "secret.png", photo(9, (8, 8)))
    (folder / "images" / "link.png").symlink_to(outside)
    (folder / "linked").symlink_to(folder.parent)
    for path in ("../secret.png", str(outside), "images/link.png", "linked/secret.png", "link"):
        (folder / "labels.csv").write_text(f"path,label\nimages/000.png,1\n{path},2")
        refused(folder, "1 unreadable: no file")


def test_a_name_that_several_files_have_is_not_guessed(folder: Path) -> None:
    save(folder / "more" / "000.png", photo(9, (8, 8)))
    (folder / "labels.csv").write_text("id,label\n000,1\n001,2")
    refused(folder, "1 unreadable: no file 000")


@pytest.mark.parametrize("quiet", [True, False])
def test_drawn_splits_are_told_only_where_others_have_folders(
    tmp_path: Path, quiet: bool, caplog: pytest.LogCaptureFixture
) -> None:
    below = tmp_path if quiet else tmp_path / "train"
    for number in range(20):
        save(below / "ab"[number % 2] / f"{number}.png", photo(number, (8, 8)))
        if not quiet:
            save(tmp_path / "val" / "ab"[number % 2] / f"{number}.png", photo(number, (8, 8)))
    task = from_folder(tmp_path, test_share=0.3)
    assert len(task.test) == 6
    said = "has no folder of the test split: 30 % of its training images are drawn for it"
    assert (said in caplog.text) != quiet
