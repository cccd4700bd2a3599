"""Real weights of others, where they are: read by this package and by the loader beside them."""

from __future__ import annotations

import torch

from surrogate_nas.spaces import FineTuneSpace
from tests.helpers.shared import shared_weights


def test_real_weights_give_the_features_of_their_own_loader() -> None:
    weights = shared_weights("mobilenet_v1_025_128.npz")
    loader = shared_weights("load_backbone.py")
    space = FineTuneSpace(
        {"own": weights, "theirs": f"{loader}:Backbone:{weights}"}, resolutions=(64, 96)
    )
    own, theirs = (space._backbones[name].parts() for name in ("own", "theirs"))
    images = torch.rand(2, 3, 80, 70, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        assert torch.equal(own.body(images), theirs.body(images))
    assert (own.width, own.stages.count, own.sizes) == (256, 5, (64, 96))
    assert own.scale == theirs.scale == ((0.0,), (1 / 255,))
    # Of the 467,593 parameters the classifier's are left out.
    assert own.parameters() == theirs.parameters() == 210_336
