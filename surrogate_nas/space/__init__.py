"""Search spaces: what architectures there are, and how one becomes a network."""

from surrogate_nas.space.building import build_network
from surrogate_nas.space.parameters import (
    ParameterSpace,
    SpaceLike,
    as_space,
    distributions,
    fingerprint,
    suggest_from,
)
from surrogate_nas.space.search_space import (
    TRAINING_PARAMS,
    Architecture,
    Distributions,
    ParameterGroup,
    ReferenceShape,
    SearchSpace,
    TaskShape,
)
from surrogate_nas.space.values import params_key
from surrogate_nas.tensors.counting import count

__all__ = [
    "TRAINING_PARAMS",
    "Architecture",
    "Distributions",
    "ParameterGroup",
    "ParameterSpace",
    "ReferenceShape",
    "SearchSpace",
    "SpaceLike",
    "TaskShape",
    "as_space",
    "build_network",
    "count",
    "distributions",
    "fingerprint",
    "params_key",
    "suggest_from",
]
