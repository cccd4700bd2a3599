from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.errors import TrainingError
from surrogate_nas.training.trainer import Trainer

WRONG: dict[str, list[Any]] = {
    "epochs": [True, "3", 2.0, None, math.nan, [3], 2**60, 10**5000],
    "batch_size": [True, "64", 64.5, None, -1, np.float64(64)],
    "optimizer": ["adam", "SGD", None, ["sgd"], 1, True],
    "learning_rate": ["1e-3", True, math.nan, math.inf, -0.1, [0.1], torch.tensor(0.1), 1e39],
    "weight_decay": ["0", False, math.nan, math.inf, -1e-9, {}],
    "schedule": ["step", None, 1, ("cosine",)],
    "warmup_epochs": ["1", True, None, math.nan, math.inf, -1, 10**400],
    "label_smoothing": [1, "0.1", True, None, math.nan, -0.1],
    "augmentation": ["flip", True, math.nan, 1.01, np.array([0.5])],
    "mixup": ["0.2", False, None, math.nan, math.inf],
    "clip_norm": ["1", True, 0, -1.0, math.nan, math.inf],
    "ema_decay": ["0.9", True, None, 1, -0.1, math.nan],
    "patience": ["3", True, 0, 1.5, math.nan, -1],
    "keep_best": [1, 0, "yes", None],
    "start_resolution": ["half", True, None, 0, 1.01, math.nan],
    "device": [0, True, ["cpu"], b"cpu"],
    "time_limit_seconds": ["60", True, math.nan, math.inf, 0, -1],
    "cuda_graph": [1, 0, "yes", None],
    "seed": [True, "0", 0.0, None, -1, 2**64, np.int64(-1)],
}


def test_every_setting_is_checked() -> None:
    assert list(WRONG) == [field.name for field in fields(Trainer)]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda value: f"{type(value).__name__}",
)
def test_a_setting_of_a_wrong_type_or_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TrainingError, match=rf"(?s)Expected {name} .*Give the Trainer another"):
        Trainer(**{name: value})
    with pytest.raises(TrainingError, match=r"(?s)Correct the value that the space's training"):
        Trainer().override(**{name: value})


def test_an_error_says_the_value_and_its_type() -> None:
    with pytest.raises(TrainingError, match="above 0, a finite number or None; got '1e-3' of ty"):
        Trainer(learning_rate="1e-3")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="a whole number; got True of type bool"):
        Trainer(epochs=True)
    with pytest.raises(TrainingError, match=r"device that can be used here.*got 'gpu'"):
        Trainer(device="gpu")


def test_scalars_of_numpy_and_a_device_of_pytorch_become_plain() -> None:
    given: dict[str, Any] = {
        "epochs": np.int64(3),
        "learning_rate": np.float32(0.5),
        "cuda_graph": np.bool_(False),
        "device": torch.device("cpu"),
        "seed": 2**64 - 1,
    }
    trainer = Trainer(**given)
    types = {type(value) for value in asdict(trainer).values()}
    assert types <= {int, float, str, bool, type(None)}
    assert trainer == Trainer(
        epochs=3, learning_rate=0.5, cuda_graph=False, device="cpu", seed=2**64 - 1
    )
