"""Words of four letters as architectures, and pools that are screened for them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from surrogate_nas.past.past_task import Direction, PastTask
from surrogate_nas.screening.choice import Choice
from surrogate_nas.screening.known_trials import TargetTrials
from surrogate_nas.screening.pool import Candidate, Limits, Pool
from surrogate_nas.screening.rules import PoolMix, ScreeningRules
from surrogate_nas.screening.screener import Proposal, Screener
from surrogate_nas.space import Distributions, ParameterSpace
from surrogate_nas.space.draw import random_chooser, replay_chooser
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

OPS = "abcde"
DISTRIBUTIONS: Distributions = {f"op{i}": CategoricalDistribution(OPS) for i in range(4)}
SPACE = ParameterSpace(DISTRIBUTIONS)


@functools.cache
def fresh() -> MetaSurrogate:
    """A surrogate without past tasks."""
    return MetaSurrogate.fit(SPACE)


USUAL = PoolMix()
ONLY_RANDOM = PoolMix(n_base=0, near_observed=0, near_predicted=0)


def params(word: str) -> dict[str, str]:
    return {f"op{i}": letter for i, letter in enumerate(word)}


def key(word: str) -> str:
    return SPACE.canonical(params(word))


def propose(*words: str) -> Any:
    """A base sampler with these proposals; it notes how many were asked for."""

    def asked(n: int) -> Iterator[Proposal]:
        asked.wanted.append(n)  # type: ignore[attr-defined]
        for i, word in enumerate(words[:n]):
            otherwise = random_chooser(np.random.default_rng(0))
            yield replay_chooser(params(word), otherwise), {"base:number": i}

    asked.wanted = []  # type: ignore[attr-defined]
    return asked


def value(architecture: Mapping[str, Any]) -> float:
    """What an architecture reaches: the more a's the better."""
    return 70.0 + 5.0 * list(architecture.values()).count("a")


def results(n: int, direction: Direction = "maximize", seed: int = 0) -> TargetTrials:
    rng = np.random.default_rng(seed)
    drawn = [params("".join(rng.choice(list(OPS), 4))) for _ in range(n)]
    sign = 1.0 if direction == "maximize" else -1.0
    values = [sign * value(one) for one in drawn]
    return TargetTrials(PastTask("target", drawn, values, direction), direction, [])


def reached(words: Sequence[str], direction: Direction = "maximize") -> TargetTrials:
    """The results of these architectures, in this order."""
    sign = 1.0 if direction == "maximize" else -1.0
    chosen = [params(word) for word in words]
    values = [sign * value(one) for one in chosen]
    return TargetTrials(PastTask("target", chosen, values, direction), direction, [])


NOTHING = TargetTrials(None, "maximize", [])


def screened(
    trials: TargetTrials = NOTHING,
    base: Any = None,
    *,
    surrogate: MetaSurrogate | None = None,
    seen: Iterable[str] = (),
    size: int = 32,
    mix: PoolMix = USUAL,
    limits: Mapping[str, float] | None = None,
    seed: int = 0,
    n_control: int = 1,
    acquisition: str = "log_ei",
) -> tuple[Choice, Pool]:
    pool = Pool(SPACE, Limits(SPACE, limits), frozenset(seen), {}, np.random.default_rng(seed))
    base = base or propose()
    rules = ScreeningRules(size, 5, n_control, mix, acquisition)
    screener = Screener(SPACE, surrogate or fresh(), limits, rules)
    return screener.choose_from(pool, trials, base), pool


def past_tasks(*signs: float) -> list[PastTask]:
    """Past tasks that agree with the target, those of a negative sign contradicting it."""
    rng = np.random.default_rng(0)
    drawn = [params("".join(rng.choice(list(OPS), 4))) for _ in range(60)]
    return [
        PastTask(f"past {i}", drawn, [sign * value(one) + i for one in drawn])
        for i, sign in enumerate(signs)
    ]


@functools.cache
def three() -> MetaSurrogate:
    """A surrogate of three past tasks that agree."""
    return MetaSurrogate.fit(SPACE, past_tasks(1, 1, 1))


def of_worth(transfer: float | None, **past: float) -> dict[str, Any]:
    """The study attributes of a choice where past tasks have these weights."""
    candidate = Candidate({}, {}, "", "random", {})
    return Choice(candidate, 1, 0, 0, transfer=transfer, past_tasks=past).study_attributes()
