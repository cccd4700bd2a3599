"""Twenty different candidates: several at once by ``sn.optimize``, one by one by bare loops."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import optuna

import surrogate_nas as sn
from studies.training_speed import loops
from studies.training_speed.loops import Job
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.training.trainer import seeded

N_CANDIDATES = 20
_FEWEST = 3


def candidates(space: sn.SearchSpace, n: int) -> list[dict[str, Any]]:
    """Parameters of random architectures, no two of them equivalent."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < n:
        draw = Draw(random_chooser(rng))
        key = space.canonical(space.suggest(draw))
        found[key] = draw.params
    return list(found.values())


def at_once(job: Job, space: sn.SearchSpace, params: list[dict[str, Any]]) -> dict[str, Any]:
    """Train all candidates by ``sn.optimize`` with "auto"; time the whole call, and the trials."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.NopPruner()
    )
    for one in params:
        study.enqueue_trial(one)
    trainer = sn.Trainer(
        epochs=job.epochs,
        batch_size=job.batch_size,
        augmentation=job.augmentation,
        device=job.device,
    )
    began = time.perf_counter()
    objective = sn.Objective(job.task, space, trainer, dashboard=False)
    sn.optimize(study, objective, len(params), n_concurrent="auto")
    seconds = time.perf_counter() - began
    starts = [t.datetime_start for t in study.trials if t.datetime_start is not None]
    ends = [t.datetime_complete for t in study.trials if t.datetime_complete is not None]
    return {
        "loop": "sn.optimize",
        "n": sum(t.state is optuna.trial.TrialState.COMPLETE for t in study.trials),
        "seconds": seconds,
        "seconds_of_trials": (max(ends) - min(starts)).total_seconds(),
        "most_at_once": _most_at_once(study),
    }


def _most_at_once(study: optuna.Study) -> int:
    spans = [(t.datetime_start, t.datetime_complete) for t in study.trials]
    whole = [(start, end) for start, end in spans if start is not None and end is not None]
    return max(sum(start <= at < end for start, end in whole) for at, _ in whole)


def one_by_one(
    name: str, job: Job, space: sn.SearchSpace, params: list[dict[str, Any]], deadline: float
) -> dict[str, Any]:
    """Train the same candidates by a bare loop, as many as the time allows."""
    loop: loops.Loop = getattr(loops, name)
    began, n = time.perf_counter(), 0
    for one in params:
        if n >= _FEWEST and time.monotonic() > deadline:
            break
        with seeded(n):
            network = space.build(space.suggest(optuna.trial.FixedTrial(one)), job.task)
        loop(network, job)
        n += 1
    return {"loop": name, "n": n, "seconds": time.perf_counter() - began}


def crowd(job: Job, names: tuple[str, ...], deadline: float) -> list[dict[str, Any]]:
    """Measure all ways; print candidates an hour, and ours as a ratio to the others.

    Args:
        job: What every training does.
        names: Of the bare loops, the fastest first; each gets an equal part of the time.
        deadline: By ``time.monotonic``.
    """
    space = sn.spaces.CellSpace().for_task(job.task)
    params = candidates(space, N_CANDIDATES)
    rows = [at_once(job, space, params)]
    for place, name in enumerate(names):
        left = deadline - time.monotonic()
        until = time.monotonic() + left / (len(names) - place)
        rows.append(one_by_one(name, job, space, params, until))
    ours = rows[0]["n"] / rows[0]["seconds"]
    print(f"\n{rows[0]['most_at_once']} candidates at once at most")
    print("| way | candidates | candidates an hour | sn.optimize / this |")
    print("|---|---|---|---|")
    for row in rows:
        rate = row["n"] / row["seconds"]
        print(f"| {row['loop']} | {row['n']} | {3600 * rate:,.0f} | {ours / rate:.2f} |")
    return rows
