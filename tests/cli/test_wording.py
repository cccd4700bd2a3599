"""Errors of the command line name its options."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surrogate_nas import domains
from surrogate_nas.cli.wording import in_options
from tests.helpers.command_line import SMALL, Run, run, verbosity

__all__ = ["run", "verbosity"]  # fixtures


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("pass image_size=(height, width) to resize them", "pass --image-size N to resize them"),
        ("write for example image_size=64.", "write for example --image-size 64."),
        ("pass a smaller image_size, or a larger max_bytes", "smaller --image-size, or a larger"),
        ("remove them, or pass on_unreadable='skip'", "or pass --skip-unreadable"),
        ("validation_share=0.2, test_share=0.2", "--validation-share 0.2, --test-share 0.2"),
        ("write class_weights='balanced' for", "write --class-weights balanced for"),
        ("choose another study_name; the", "choose another --name; the"),
        ("give the Trainer another epochs", "give another --epochs"),
        ("Expected learning_rate above 0", "Expected --learning-rate above 0"),
        ("or give the Trainer device='cpu'", "or give --device cpu"),
        ('write for example limits={"parameters": 1e6}', "example --limit parameters=1e6"),
        ("Pass exclude= to leave studies out", "Pass --exclude to leave studies out"),
        ("run study.optimize first, and", "run surrogate-nas search first, and"),
    ],
)
def test_an_argument_of_python_becomes_an_option(python: str, said: str) -> None:
    assert said in in_options(python, domains.named("images"))


@pytest.mark.parametrize(
    "text",
    [
        "save them by numpy.savez(path, x_train=..., y_train=...)",
        "a value of 'learning_rate' in FloatDistribution(high=1)",
        "call from_arrays(images, labels, name=...)",
        "the device is slow, and the metric is good",
        "sqlite:///study_name.db at my_study_name",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert in_options(text, domains.named("images")) == text


def test_errors_of_images_name_options(run: Run) -> None:
    for number in range(4):
        folder = Path("photos") / f"class_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8 + number), dtype=np.uint8)).save(folder / f"{number}.png")

    sizes = run("search", *SMALL, "--data", "photos")
    memory = run("search", *SMALL, "--data", "photos", "--image-size", "8", "--max-bytes", "9")
    shares = run("search", *SMALL, "--validation-share", "0.9", "--test-share", "0.9")
    rate = run("search", *SMALL, "--learning-rate", "-1")
    mixup = run("search", *SMALL, "--label-smoothing", "2")

    assert [code for code, _, _ in (sizes, memory, shares, rate, mixup)] == [2] * 5
    assert "Pass --image-size N to resize them" in sizes[2]
    assert "Pass a smaller --image-size, or a larger --max-bytes" in memory[2]
    assert "--validation-share 0.2, --test-share 0.2" in shares[2]
    assert "Expected --learning-rate above 0, a finite number or None; got -1.0" in rate[2]
    assert "Expected --label-smoothing in [0, 1)" in mixup[2]
    for _, _, err in (sizes, memory, shares, rate, mixup):
        assert not re.search(r"image_size|max_bytes|_share|learning_rate|label_smoothing", err)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pets.csv", b"path,label\na.png,cat\n", "a CSV file at pets.csv"),
        ("pets.parquet", b"PAR1", "a Parquet file at pets.parquet"),
        ("pets.zip", b"PK\x03\x04", "a zip archive at pets.zip"),
    ],
)
def test_tables_and_archives_are_named(name: str, content: bytes, words: str, run: Run) -> None:
    Path(name).write_bytes(content)

    code, _, err = run("search", *SMALL, "--data", name)

    assert code == 2
    assert words in err
    assert "pickle" not in err
