# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     notebook_metadata_filter: kernelspec,jupytext,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The loop in 100 lines
#
# The whole method, rebuilt from nothing with numpy, lightgbm and optuna. Nothing of the package is imported. The package does each step
# with more care; at the end of each section it says where. The method, up to the heading *Does it help?*, is less than 100 lines.
# Less than a minute on two CPU cores.

# %%
import math
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from statistics import NormalDist

import lightgbm
import numpy as np
import optuna

SMALL = os.environ.get("NOTEBOOK_BUDGET") == "small"  # set where notebooks are tested
N_TRIALS, SEEDS = (8, 2) if SMALL else (30, 10)
optuna.logging.set_verbosity(optuna.logging.WARNING)

# %% [markdown]
# ## A world of tasks
#
# An architecture is six operations, one an edge, each of five kinds: 15,625 in all. Training one takes hours in real life; here we make
# up what it reaches. A *task* gives each operation a worth on each edge, and each pair of neighbours another. Tasks of one world share
# most of that, and differ in the rest.

# %%
EDGES, OPS = 6, ["none", "skip", "pool", "conv 1x1", "conv 3x3"]
SPACE = {f"op_{e}": optuna.distributions.CategoricalDistribution(OPS) for e in range(EDGES)}
EVERYTHING = np.stack(np.meshgrid(*[range(5)] * EDGES, indexing="ij"), axis=-1).reshape(-1, EDGES)


def make_task(rng, shared):
    single, pairs = (part + 0.4 * rng.normal(size=part.shape) for part in shared)

    def reached(x):  # x: architectures as numbers, (n, 6)
        alone = single[range(EDGES), x].sum(axis=1)
        return alone + pairs[range(EDGES - 1), x[:, :-1], x[:, 1:]].sum(axis=1)

    return reached


# %% [markdown]
# ## Past tasks become functions
#
# Each past task has a few dozen results. LightGBM learns them, on ranks turned into normal scores: an accuracy of one data set and an
# error of another then have the same scale. (`surrogate_nas/boosting.py`, `basis.py`)


# %%
def normal_scores(values):
    ranks = np.argsort(np.argsort(values))
    return np.array([NormalDist().inv_cdf((rank + 0.5) / len(values)) for rank in ranks])


def one_hot(x):
    return np.eye(len(OPS))[x].reshape(len(x), -1)


def fit_past(x, values):
    settings = {"num_leaves": 8, "min_child_samples": 2, "n_jobs": 1, "verbose": -1}
    model = lightgbm.LGBMRegressor(n_estimators=60, **settings)
    model.fit(one_hot(x), normal_scores(values))
    return lambda rows: model.booster_.predict(one_hot(rows), num_threads=1)


# %% [markdown]
# ## The target is a combination of them, plus what none of them knows
#
# A hypothesis says how much the mean of the past tasks counts (its weight `w`), how far single past tasks may stray from it, and how
# large the rest is. The rest is a Gaussian process: architectures with many equal operations reach similar values. Given results, each
# hypothesis has a closed-form prediction and a likelihood; predictions are averaged by likelihood. The hypothesis with `w = 0` is the guard:
# if the past misleads, it wins. (`posterior.py` has more hypotheses, and learns how much to believe each of them beforehand.)

# %%
HYPOTHESES = [(w, stray, rest) for w in (0.0, 1.0) for stray in (0.0, 0.3) for rest in (0.3, 1.0)]


def nearness(x, other):
    return np.exp(-1.5 * (x[:, None] != other[None]).mean(axis=2))


def predict(pool, past, x, y):
    """Mean and standard deviation for each of the pool, given results y (standardized) of x."""
    basis = np.stack([model(pool) for model in past], axis=1)  # (m, number of past tasks)
    known = np.stack([model(x) for model in past], axis=1) if len(x) else np.zeros((0, len(past)))
    means, variances, evidence = [], [], []
    for w, stray, rest in HYPOTHESES:

        def covariance(a, fa, b, fb):
            return stray * fa @ fb.T / len(past) + rest * nearness(a, b)

        K = covariance(x, known, x, known) + 0.05 * np.eye(len(x))
        L = np.linalg.cholesky(K)
        gap = np.linalg.solve(L, y - w * known.mean(axis=1))
        cross = np.linalg.solve(L, covariance(x, known, pool, basis))
        prior = stray * (basis**2).sum(axis=1) / len(past) + rest
        means.append(w * basis.mean(axis=1) + cross.T @ gap)
        variances.append(prior - (cross**2).sum(axis=0))
        evidence.append(-0.5 * gap @ gap - np.log(np.diag(L)).sum())
    share = np.exp(np.array(evidence) - max(evidence))
    share = share[:, None] / share.sum()
    mean = (share * means).sum(axis=0)
    second = (share * (np.array(variances) + np.array(means) ** 2)).sum(axis=0)
    return mean, np.sqrt(np.maximum(second - mean**2, 1e-9))


# %% [markdown]
# ## Expected improvement
#
# By how much will a candidate beat the best so far, on average? Large where the mean is high, and where little is known.
# (`acquisition.py`, in log space, where it stays exact far from the best.)


# %%
def expected_improvement(mean, std, best):
    z = (mean - best) / std
    below = np.array([0.5 * (1 + math.erf(one / math.sqrt(2))) for one in z])
    return std * (z * below + np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))


# %% [markdown]
# ## The pool
#
# Candidates come from three places: an Optuna sampler, asked on a throw-away copy of the study; the neighbours of the best
# architectures; and chance. What was tried is left out. (`candidates.py`, `shadow.py`)


# %%
def to_row(params):
    return [OPS.index(params[name]) for name in SPACE]


def make_pool(study, x, y, rng):
    copy = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
    )
    copy.add_trials(study.trials)
    proposed = [to_row(copy.ask(SPACE).params) for _ in range(8)]
    near = x[np.argsort(-y)[:4]].repeat(EDGES * 5, axis=0)  # every change of one operation
    for place, row in enumerate(near):
        row[place // 5 % EDGES] = place % 5
    pool = np.concatenate([proposed, near, rng.integers(5, size=(100, EDGES))]).astype(int)
    tried = set(map(tuple, x))
    return np.array([row for row in dict.fromkeys(map(tuple, pool)) if row not in tried])


# %% [markdown]
# ## The loop


# %%
def search(reached, past, seed):
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize")
    for _ in range(N_TRIALS):
        x = np.array([to_row(t.params) for t in study.trials], dtype=int).reshape(-1, EDGES)
        values = np.array([t.value for t in study.trials])
        y = (values - values.mean()) / values.std() if len(values) > 1 else 0 * values
        pool = make_pool(study, x, y, rng)
        mean, std = predict(pool, past, x, y)
        best = y.max() if len(y) else mean.max()
        chosen = pool[np.argmax(expected_improvement(mean, std, best))]
        study.enqueue_trial({name: OPS[op] for name, op in zip(SPACE, chosen)})
        trial = study.ask(SPACE)
        study.tell(trial, reached(np.array([to_row(trial.params)]))[0])  # hours, in real life
    return [t.value for t in study.trials]


# %% [markdown]
# ## Does it help?
#
# Three searches of the same target: with past tasks, with past tasks turned upside down, and Optuna's TPE. The number is the *regret*: how
# far the best found is from the best of all 15,625, in standard deviations of the task; a mean over several worlds. It can be known
# here because everything is made up.


# %%
def tpe(reached, seed):
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(N_TRIALS):
        trial = study.ask(SPACE)
        study.tell(trial, reached(np.array([to_row(trial.params)]))[0])
    return [t.value for t in study.trials]


regrets = {"with past tasks": [], "upside down": [], "TPE": []}
for seed in range(SEEDS):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(EDGES, 5)), 0.5 * rng.normal(size=(EDGES - 1, 5, 5))
    good, bad = [], []
    for _ in range(4):
        x = rng.integers(5, size=(60, EDGES))
        values = make_task(rng, shared)(x)
        good.append(fit_past(x, values))
        bad.append(fit_past(x, -values))
    target = make_task(rng, shared)
    all_values = target(EVERYTHING)
    for name, found in (
        ("with past tasks", search(target, good, seed)),
        ("upside down", search(target, bad, seed)),
        ("TPE", tpe(target, seed)),
    ):
        gap = all_values.max() - np.maximum.accumulate(found)
        regrets[name].append(gap / all_values.std())

steps = [n for n in (1, 3, 5, 10, 20, 30) if n <= N_TRIALS]
print("trainings       ", "".join(f"{n:7d}" for n in steps))
for name, curves in regrets.items():
    print(f"{name:16s}", "".join(f"{np.mean(curves, axis=0)[n - 1]:7.2f}" for n in steps))

# %% [markdown]
# Past tasks find the good region with the first training. Turned upside down they begin with the worst architecture there is, are found
# out within a few results, and cost little after that.
#
# What the package adds: any search space, conditional ones too; canonical keys, so that equivalent architectures count once; limits
# before training; a prior over hypotheses that is learned by leaving each past task out in turn; a control as the second trial;
# hundreds of past tasks at the cost of a few; several workers on one storage; and the training itself.
