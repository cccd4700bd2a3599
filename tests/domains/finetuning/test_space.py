from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import optuna
import pytest
import torch
from torch import nn

import surrogate_nas as sn
from surrogate_nas.domains.finetuning.landmarks import UNKNOWN
from surrogate_nas.domains.finetuning.space import FineTuneSpace
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, distributions
from surrogate_nas.space.draw import attempt, random_chooser
from tests.helpers.backbones import SIDES, TinyNet, architecture, photos, space, tiny_net
from tests.helpers.tiny import tagging

TASK = photos()
TRAINER = sn.Trainer(device="cpu", batch_size=16)


def test_a_study_begins_without_training(tmp_path: Path) -> None:
    made = space(cache=tmp_path)
    at: dict[str, Any] = {"storage": f"sqlite:///{tmp_path / 'nas.db'}", "study_name": "one"}
    study = sn.create_study(TASK, made, **at, seed=0)
    study.optimize(sn.Objective(TASK, made, TRAINER, dashboard=False), n_trials=2)
    first, second = study.trials
    assert first.params["adaptation"] == "means"
    assert "without training" in first.user_attrs["architecture"]
    assert first.user_attrs["trained_parameters"] == 0
    assert first.value is not None
    assert first.value > 0.8
    assert second.params != first.params
    assert study.user_attrs["meta_features"].keys() > {"frozen_separability", "frozen_dimension"}
    assert first.user_attrs["features"].keys() == made.features(architecture("means")).keys()
    # A study that goes on does not begin again.
    again = sn.create_study(TASK, made, **at)
    assert len(again.trials) == 2


def test_a_probe_needs_no_image_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = space(cache=tmp_path)
    made.training_view(made.build(architecture("probe"), TASK), TASK, torch.device("cpu"))
    shapes: list[int] = []
    count = TinyNet.forward

    def forward(self: TinyNet, images: torch.Tensor) -> torch.Tensor:
        shapes.append(len(images))
        return count(self, images)

    monkeypatch.setattr(TinyNet, "forward", forward)
    for head in ("linear", "mlp"):
        network = made.build(architecture("probe", head=head), TASK)
        part, view = made.training_view(network, TASK, torch.device("cpu"))
        TRAINER.override(**made.training(architecture("probe"))).train(part, view)
    assert sum(shapes) == 0


def test_features_tell_how_backbones_suit_a_task() -> None:
    made = space().for_task(TASK)
    tiny, wide = (made.features(architecture(backbone=name)) for name in ("tiny", "wide"))
    assert tiny["log10_parameters"] < wide["log10_parameters"]
    assert min(tiny["separability_lost"], wide["separability_lost"]) == 0
    assert tiny["log2_enlargement"] == 0
    large = made.features(architecture(resolution=24))
    assert large["log2_enlargement"] == pytest.approx(math.log2(1.5))
    assert large["log10_multiply_accumulates"] > tiny["log10_multiply_accumulates"]
    assert space().features(architecture())["separability"] == UNKNOWN.skill


def test_training_costs_more_the_more_is_trained() -> None:
    made = space().for_task(TASK)
    costs = [
        made.describe(architecture(name))["training_multiply_accumulates"]
        for name in ("probe", "norm_bias", "all")
    ]
    assert costs == sorted(costs)
    described = made.describe(architecture("lora"))
    assert described["trained_parameters"] < described["parameters"]


def test_equal_networks_have_one_key() -> None:
    made = space()
    keys = {made.canonical(architecture("last", last_stages=n)) for n in (1, 2, 3)}
    assert len(keys) == 1
    assert made.canonical(architecture("last")) != made.canonical(architecture("all"))


def test_a_resolution_that_a_backbone_cannot_take_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fixed() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 5), nn.ReLU(), nn.Linear(5, 4))

    with caplog.at_level(logging.WARNING):
        made = FineTuneSpace({"fixed": fixed}, resolutions=SIDES)
    assert "'fixed' cannot take images of 16 pixels" in caplog.text
    choose = random_chooser(np.random.default_rng(0))
    drawn = [attempt(made.suggest, choose)[1] for _ in range(20)]
    assert {one["resolution"] for one in drawn if one is not None} == {24}
    assert None in drawn
    assert made._backbones["fixed"].parts().is_square
    with pytest.raises(SpaceError, match=r"features of backbone 'fixed'.*mat1 and mat2"):
        FineTuneSpace({"fixed": fixed}, resolutions=(16,))


def test_a_backbone_for_grey_images_gets_them() -> None:
    def grey() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU())

    made = FineTuneSpace({"grey": grey}, resolutions=SIDES)
    network = made.build(architecture(backbone="grey"), ReferenceShape((1, 8, 8), 2))
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 2)


def test_the_scale_of_inputs_is_the_one_that_separates() -> None:
    class Bytes(nn.Module):
        """Sees large levels alone, and otherwise one pixel that says nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 6, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(
                (images / 64).floor().relu() + 1e-3 * images[:, :, 1:2, 1:2]
            )
            return out

    made = FineTuneSpace({"bytes": Bytes}, resolutions=(16,)).for_task(TASK)
    made.features(architecture(backbone="bytes"))
    assert made._sight._scales == {"bytes": ((0.0,), (1 / 255,))}


def test_it_goes_to_other_processes(tmp_path: Path) -> None:
    made = space(cache=tmp_path)
    bound = made.for_task(TASK)
    wanted = bound.features(architecture())
    other = cloudpickle.loads(cloudpickle.dumps(made))
    assert distributions(other) == distributions(made)
    assert other.for_task(TASK).features(architecture()) == wanted


def test_inputs_of_other_domains_go_through_the_same_space() -> None:
    class Reader(nn.Module):
        """A backbone for tokens: embeddings, and a mean over those that are there."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.mixing = nn.Embedding(12, 6), nn.Linear(6, 8)

        def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            del lengths
            out: torch.Tensor = self.mixing(self.words(tokens)).relu()
            return out

    task = tagging()
    made = FineTuneSpace({"reader": Reader}, resolutions=None)
    assert "resolution" not in distributions(made)
    params = architecture("lora", backbone="reader")
    del params["resolution"]
    with pytest.raises(SpaceError, match="a task whose inputs backbone 'reader' takes"):
        made.describe(params)
    bound = made.for_task(task)
    assert bound.describe(params)["multiply_accumulates"] > 0
    network = bound.build(params, ReferenceShape((), 3, task.shape))
    assert made.parameter_groups(network)
    with pytest.raises(SpaceError, match="no resolution; got 16"):
        bound.describe(architecture(backbone="reader"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resolutions": (24, 16)}, "resolutions as ascending"),
        ({"resolutions": ()}, "resolutions as ascending"),
        ({"resolutions": (16.5,)}, "resolutions as ascending"),
        ({"adaptations": ()}, "adaptations among means, probe"),
        ({"adaptations": ("probe", "probe")}, "each once"),
        ({"heads": "square"}, "heads among linear, mlp, cosine"),
        ({"epochs": (1, 2, 3)}, "the smallest and the largest"),
        ({"epochs": (0, 2)}, "epochs as ascending"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        space(**options)


def test_a_space_without_backbones_can_only_be_described() -> None:
    made = FineTuneSpace()
    assert isinstance(made.features(architecture(backbone="any"))["log10_width"], float)
    assert isinstance(made.config(), dict)
    assert space().config() is None
    with pytest.raises(SpaceError, match=r"at least one backbone.*--backbone"):
        sn.create_study(TASK, made)
    with pytest.raises(SpaceError, match="a backbone among none"):
        made.build(architecture(), TASK)


@pytest.mark.parametrize(
    "change",
    [{"adaptation": "some"}, {"head": "round"}, {"depth": 3}, {"backbone": "other"}],
)
def test_a_foreign_architecture_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpaceError):
        space().build({**architecture(), **change}, TASK)
    with pytest.raises(SpaceError, match="got no 'adaptation'"):
        space().summary({"backbone": "tiny"})


def test_words_say_what_is_trained() -> None:
    made = space()
    said = made.summary(architecture("lora"))
    assert said.startswith(
        "tiny with a linear head and adapters of rank 2 (all layers), 16 pixels"
    )
    assert "0.001 of the body" in said
    assert "last stage trained" in made.summary(architecture("last"))
    assert made.label("body_rate") == "learning rate of the body"
    assert made.label("resolution") == "resolution"
    assert "made by tiny_net, SHA-256 of its tensors" in made.weights_from(architecture())
    assert repr(made) == "FineTuneSpace(backbones=['tiny', 'wide'])"


def test_uneven_resolutions_are_categories() -> None:
    found = distributions(FineTuneSpace({"tiny": tiny_net}, resolutions=(16, 20, 32)))
    assert found["resolution"] == optuna.distributions.CategoricalDistribution((16, 20, 32))
