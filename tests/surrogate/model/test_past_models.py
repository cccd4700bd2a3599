"""One model a past task, and the architectures that models are compared on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from surrogate_nas.surrogate.model import past_models
from surrogate_nas.surrogate.model.boosting import predict_trees
from surrogate_nas.surrogate.model.distillation import Points
from tests.helpers.bases import mixes, tasks


def test_many_past_architectures_are_represented_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_models, "_LANDMARKS", 210)
    past = tasks(mixes(2))
    known, space = [Points(x, x) for x in past.rows], Points(past.space_rows, past.space_rows)
    landmarks = past_models._landmarks(known, space, np.random.default_rng(0)).rows
    assert len(landmarks) == 210
    np.testing.assert_array_equal(landmarks[:200], past.space_rows)
    pooled = {tuple(row) for row in np.concatenate(past.rows)}
    chosen = {tuple(row) for row in landmarks[200:]}
    assert len(chosen) == 10
    assert chosen <= pooled


def test_agreement_is_the_rank_correlation_with_each_other_model() -> None:
    past = tasks(mixes(4), n=40)
    models = past.models()
    predicted = [predict_trees(one, past.rows[2]) for one in models.boosters]
    wanted = [spearmanr(predicted[k], past.y[2]).statistic for k in (0, 1, 3)]
    np.testing.assert_allclose(sorted(models.agreement(2)), sorted(wanted))


def test_predictions_are_standardized_by_the_landmarks() -> None:
    past = tasks(mixes(3))
    models = past.models()
    values = models.standardized([2, 0], models.landmarks.rows)
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(values.std(axis=0), 1.0)
    np.testing.assert_array_equal(values[:, :1], models.standardized([2], models.landmarks.rows))
