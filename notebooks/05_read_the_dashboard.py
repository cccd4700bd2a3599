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
# # Read the dashboard
#
# optuna-dashboard shows any study in a browser. This notebook makes a study, and says what the columns mean that this package adds to it,
# and what to look for. About a minute on two CPU cores.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only wait for each other on networks this small

import tempfile

import numpy as np
import optuna
from matplotlib import pyplot as plt
from scipy.stats import spearmanr

import surrogate_nas as sn

SMALL = os.environ.get("NOTEBOOK_BUDGET") == "small"  # set where notebooks are tested
N_TRIALS, EPOCHS = (6, 1) if SMALL else (15, 4)
optuna.logging.set_verbosity(optuna.logging.WARNING)

storage = f"sqlite:///{tempfile.mkdtemp()}/nas.db"  # in real life a file that you keep
task = sn.tasks.digits()
space = sn.spaces.ConvNetSpace()
study = sn.create_study(
    task,
    space,
    storage=storage,
    study_name="digits",
    surrogate="pretrained",
    limits={"parameters": 100_000},
    seed=0,
)
study.optimize(sn.Objective(task, space, sn.Trainer(epochs=EPOCHS)), n_trials=N_TRIALS)

# %% [markdown]
# ## Open it
#
# In a terminal:
#
# ```console
# $ pip install 'surrogate-nas[dashboard]'
# $ optuna-dashboard sqlite:///nas.db --artifact-dir nas-artifacts
# ```
#
# and open the address that it prints. It may run while the search does, on the same file. The folder beside the database, named like
# it, holds the pictures.

# %%
print(f"optuna-dashboard {storage} --artifact-dir {storage.removeprefix('sqlite:///').removesuffix('.db')}-artifacts")

# %% [markdown]
# ## The study's page
#
# Beside what the dashboard draws of every study there are five figures. They are refreshed while the search runs, as often as two
# hundredths of its time allow.
#
# | figure | what it shows | look for |
# |---|---|---|
# | Best found | the best result so far, and a band: what random draws would have found by now, as the surrogate expects | a line above the band |
# | Predicted and measured | each prediction, made before its training, against the result; bars are one standard deviation | points near the diagonal |
# | Does the surrogate rank this task? | rank correlation of the two as results come in; below the dotted line it may be chance | a line that rises |
# | What past tasks are worth here | each past task's weight in the predictions | which of your tasks are alike |
# | What was screened out, and why | candidates a training: predicted to be worse, equivalent to one that was tried, beyond a limit | a limit that turns most of them away |
#
# **Each trial's page** has a picture of its architecture: cells as graphs, stages to scale, any other space as a table of choices. **The
# note** says what the task and its meta-features are, where the surrogate comes from, how to go on with the study and how to use it for
# the next one. Where the surrogate does not help here, the note says so, and what to do.

# %% [markdown]
# ## A trial's attributes
#
# Everything that the package knows of a trial is a flat *user attribute*. The dashboard shows them with each trial, as columns of its
# table of trials, and offers the numeric ones as axes.

# %%
for name, value in study.trials[-1].user_attrs.items():
    print(f"{name:20s} {value}")

# %% [markdown]
# **Before training**, from the sampler:
#
# | column | what it is | look for |
# |---|---|---|
# | `predicted_value`, `predicted_std` | what the surrogate expected, with its uncertainty, in the metric's own units (a standard score in the very first trial) | results within two `predicted_std` of `predicted_value`, about 19 times of 20 |
# | `predicted_rank` | place in its pool by the prediction alone, 1 the best | larger where uncertainty, not the prediction, chose it |
# | `transfer` | probability, at that time, that past tasks say anything about this one | it falls where they mislead |
# | `acquisition` | logarithm of the improvement that was expected | it falls as the search comes to its end |
# | `n_candidates` | size of the pool that this one was chosen from | about 256; much less means that the space or the limits leave little |
# | `n_duplicates` | draws turned away because an equivalent architecture had been tried | many: the space is nearly used up |
# | `n_infeasible` | draws turned away by a limit | most of the draws: the limit is tight, and random draws hardly meet it |
#
# **After training**, from the Objective:
#
# | column | what it is | look for |
# |---|---|---|
# | `architecture` | the architecture in plain words | |
# | `parameters`, `multiply_accumulates`, `depth` | what the space counts before training | small networks that are as good as large ones |
# | `epochs`, `train_seconds`, `rows_per_second` | what training took | |
# | `stop_reason` | `finished`, `time limit`, `pruned`, `loss is not finite`, or an error | anything but `finished` |
#
# A trial without predictions was not chosen by the surrogate: it was enqueued by hand, or, without past tasks, it is one of the first
# five.

# %% [markdown]
# ## Are the predictions any good?
#
# The dashboard can plot `predicted_value` against the trial's value. The same by hand, with the diagonal where a perfect surrogate would
# be. All points are architectures that looked best at the time; among these it is hard to rank, and a cloud is no scandal.

# %%
known = [t for t in study.trials if t.state.name == "COMPLETE" and "predicted_value" in t.user_attrs]
predicted = np.array([t.user_attrs["predicted_value"] for t in known])
std = np.array([t.user_attrs["predicted_std"] for t in known])
measured = np.array([t.value for t in known])

figure, axis = plt.subplots(figsize=(4.5, 4))
axis.errorbar(measured, predicted, yerr=std, fmt="o", ecolor="lightgrey")
ends = [measured.min(), measured.max()]
axis.plot(ends, ends, "--", color="grey")
axis.set_xlabel("measured")
axis.set_ylabel("predicted before training")

inside = np.mean(np.abs(measured - predicted) < 2 * std)
print(f"rank correlation {spearmanr(predicted, measured).statistic:+.2f} over {len(known)} trials")
print(f"{100 * inside:.0f} % of the results within two standard deviations")

# %% [markdown]
# With this few trials both numbers are rough. If the rank correlation stays around 0 after twenty trials or more, the surrogate does not
# help here: `docs/choosing.md` lists the reasons, and what to do.
#
# ## The study's attributes
#
# On the study's page, in the table of user attributes:

# %%
for name, value in study.user_attrs.items():
    print(f"{name:20s} {str(value)[:100]}")

# %% [markdown]
# | attribute | what it is |
# |---|---|
# | `task`, `metric`, `space` | what was searched |
# | `transfer` | probability that past tasks say anything about this one |
# | `past_task_weights` | how much each past task counts by now, strongest first; below 0 it is read the other way round |
# | `past_tasks_ignored` | past tasks that count for nothing |
#
# The others are for the package itself: fingerprints of the task and the space, by which a study refuses to be continued with other data,
# and the meta-features, by which it can be found as a past task.
#
# ## The same in numbers and as a page
#
# `surrogate-nas show --storage sqlite:///nas.db --name digits` prints a summary; `sn.report` writes a page that opens offline.

# %%
summary = sn.summarize(study)
print(f"best {summary.best.value:.4f}: {summary.best.user_attrs['architecture']}")
print(f"{summary.n_screened} candidates screened for {len(summary.completed)} trainings")
print(f"{summary.n_duplicates} draws were equivalent to earlier ones, {summary.n_infeasible} beyond the limit")
page = sn.report(study, tempfile.mkdtemp() + "/digits.html")
print(f"{page.stat().st_size / 1000:.0f} kB in {page.name}")
