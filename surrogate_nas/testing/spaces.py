"""Conformance suite for search spaces.

It tests what the sampler, the surrogate, the Objective and the export rely on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.space import (
    Architecture,
    ReferenceShape,
    SearchSpace,
    TaskShape,
    build_network,
    distributions,
)
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.task import Task
from surrogate_nas.tensors import AnyTensors, Tensors
from surrogate_nas.training.trainer import Trainer, seeded

_DRAWS = 50


class SearchSpaceTestCase:
    """Tests the contract of :class:`surrogate_nas.SearchSpace`. Override :meth:`space`."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        """Return the search space under test. Must be overridden."""
        raise NotImplementedError("override the fixture 'space'")

    @pytest.fixture
    def shape(self) -> TaskShape:
        """Return the shape of the task that networks are built for.

        By default it is five classes of small color images with unequal sides. Override it for
        other kinds of input. If it is a Task, networks are tried on its ``example``.
        """
        return ReferenceShape((3, 17, 12), 5)

    def inputs(self, shape: TaskShape, n: int) -> Tensors:
        """Return n inputs: a task's example, or else noise ``(n, *shape.input_shape)``."""
        if isinstance(shape, Task):
            example: Tensors = shape.example(n)
            return example
        return torch.randn(n, *shape.input_shape)

    def check_outputs(self, outputs: AnyTensors, shape: TaskShape, n: int) -> None:
        """Refuse outputs that do not fit, as a task does; (n, n_outputs) for a bare shape."""
        if isinstance(shape, Task):
            shape.check_outputs(outputs, n)
        else:
            assert outputs.shape == (n, shape.n_outputs)

    def test_the_same_choices_give_the_same_architecture(self, space: SearchSpace) -> None:
        """``suggest`` depends on the trial's answers alone, also on answers read from JSON."""
        for params, architecture in _drawn(space):
            assert space.from_params(params) == architecture
            assert space.from_params(json.loads(json.dumps(params))) == architecture

    def test_a_trial_of_a_study_replays(self, space: SearchSpace) -> None:
        """A real Optuna trial gives the same architecture as its stored parameters."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(5):
            trial = study.ask()
            architecture = space.suggest(trial)
            assert space.from_params(trial.params) == architecture
            assert set(trial.params) <= set(distributions(space))

    def test_the_surrogate_can_read_it(self, space: SearchSpace) -> None:
        """Each architecture is a row of the surrogate's columns; equal rows have equal choices."""
        encoding = Encoding(space)
        drawn = [params for params, _ in _drawn(space)]
        rows = encoding.encode(drawn)
        assert rows.shape == (_DRAWS, len(encoding.columns))
        assert len({row.tobytes() for row in rows}) == len({json.dumps(p) for p in drawn})

    def test_keys_are_text_and_do_not_change(self, space: SearchSpace) -> None:
        """``canonical`` gives equal architectures equal keys, asked again or for another task."""
        # A key must not depend on the shape, or equal trials of two tasks would not match.
        bound = space.for_task(ReferenceShape((1, 9, 9), 2))
        for params, architecture in _drawn(space):
            key = space.canonical(architecture)
            assert isinstance(key, str)
            assert key
            assert space.canonical(space.from_params(params)) == key
            assert bound.canonical(architecture) == key

    def test_equal_keys_are_networks_of_one_size(
        self, space: SearchSpace, shape: TaskShape
    ) -> None:
        """Architectures with equal keys have equal numbers in ``describe``."""
        bound = space.for_task(shape)
        found: dict[str, dict[str, float]] = {}
        for _, architecture in _drawn(space):
            described = bound.describe(architecture)
            assert found.setdefault(space.canonical(architecture), described) == described

    def test_numbers_are_finite_under_fixed_names(
        self, space: SearchSpace, shape: TaskShape
    ) -> None:
        """``describe`` and ``features`` name the same numbers for every architecture."""
        bound = space.for_task(shape)
        rows = [(bound.describe(one), bound.features(one)) for _, one in _drawn(space)]
        for described, features in rows:
            assert described.keys() == rows[0][0].keys()
            assert features.keys() == rows[0][1].keys()
            numbers = [*described.values(), *features.values()]
            assert all(math.isfinite(number) for number in numbers)

    def test_features_is_a_fresh_dict(self, space: SearchSpace) -> None:
        """A change of the dict that ``features`` returned changes nothing else."""
        _, architecture = _drawn(space, 1)[0]
        first = space.features(architecture)
        expected = dict(first)
        first.clear()
        assert space.features(architecture) == expected

    def test_parameters_are_those_of_the_network(
        self, space: SearchSpace, shape: TaskShape
    ) -> None:
        """If ``describe`` counts parameters, the network from ``build`` has as many."""
        bound = space.for_task(shape)
        for _, architecture in _drawn(space, 3):
            described = bound.describe(architecture)
            built = sum(p.numel() for p in build_network(space, architecture, shape).parameters())
            assert described.get("parameters", built) == built

    def test_networks_fit_the_task(self, space: SearchSpace, shape: TaskShape) -> None:
        """A network maps ``(n, *input_shape)`` to (n, n_outputs) and can be trained."""
        with seeded(0):
            for _, architecture in _drawn(space, 4):
                network = build_network(space, architecture, shape)
                assert isinstance(network, nn.Module)
                outputs = tensors.call(network, self.inputs(shape, 3))
                # Any scalar would do. The question is whether gradients arrive.
                sums = [t.sum() for t in tensors.leaves(outputs) if t.is_floating_point()]
                torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
                self.check_outputs(outputs, shape, 3)
                assert tensors.are_finite(outputs)
                gradients = [p.grad for p in network.parameters() if p.grad is not None]
                assert gradients, "no parameter has an effect on the output"
                assert all(bool(gradient.isfinite().all()) for gradient in gradients)
                # Batch normalization may refuse to train on one row, so this is an evaluation.
                one = tensors.call(network.eval(), self.inputs(shape, 1))
                self.check_outputs(one, shape, 1)

    def test_the_same_seed_gives_the_same_network(
        self, space: SearchSpace, shape: TaskShape
    ) -> None:
        """``build`` draws its random numbers from PyTorch's generator alone."""
        _, architecture = _drawn(space, 1)[0]
        states = []
        for _ in range(2):
            with seeded(3):
                states.append(build_network(space, architecture, shape).state_dict())
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    def test_networks_build_without_memory(self, space: SearchSpace, shape: TaskShape) -> None:
        """``build`` works on PyTorch's meta device, where ``describe`` counts parameters."""
        inputs = tensors.to_device(self.inputs(shape, 2), "meta")
        with torch.device("meta"):
            for _, architecture in _drawn(space, 3):
                network = build_network(space, architecture, shape).eval()
                self.check_outputs(tensors.call(network, inputs), shape, 2)

    def test_training_is_what_the_trainer_reads(self, space: SearchSpace) -> None:
        """``training`` returns settings of the Trainer with values that it accepts."""
        for _, architecture in _drawn(space):
            Trainer().override(**space.training(architecture))

    def test_every_parameter_is_in_one_group(self, space: SearchSpace, shape: TaskShape) -> None:
        """``parameter_groups`` holds each parameter that is trained once."""
        for _, architecture in _drawn(space, 3):
            network = build_network(space, architecture, shape)
            groups = space.parameter_groups(network)
            grouped = [id(p) for group in groups for p in group.parameters]
            assert len(grouped) == len(set(grouped))
            assert {id(p) for p in network.parameters() if p.requires_grad} <= set(grouped)

    def test_the_summary_is_a_line(self, space: SearchSpace) -> None:
        """``summary`` is one line of text."""
        for _, architecture in _drawn(space):
            assert len(space.summary(architecture).splitlines()) == 1

    def test_the_space_can_be_made_anew(self, space: SearchSpace) -> None:
        """If there is a ``config``, the constructor makes an equal space from it after JSON."""
        config = space.config()
        if config is None:
            pytest.skip("config() is None: this space cannot be constructed from a file")
        again = type(space)(**json.loads(json.dumps(config)))
        assert distributions(again) == distributions(space)


def _drawn(space: SearchSpace, n: int = _DRAWS) -> list[tuple[Mapping[str, Any], Architecture]]:
    """Return parameters and architectures of n random draws, equal in each call."""
    rng = np.random.default_rng(0)
    found: list[tuple[Mapping[str, Any], Architecture]] = []
    for _ in range(n):
        draw = Draw(random_chooser(rng))
        architecture = space.suggest(draw)
        found.append((draw.params, architecture))
    return found
