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
# # A first search
#
# We look for a small network that reads handwritten digits, let a surrogate choose what gets trained, and take the winner home.
# About a minute on two CPU cores.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only wait for each other on networks this small

import tempfile

import numpy as np
import optuna
from matplotlib import pyplot as plt

import surrogate_nas as sn

SMALL = os.environ.get("NOTEBOOK_BUDGET") == "small"  # set where notebooks are tested
N_TRIALS, EPOCHS = (3, 1) if SMALL else (15, 6)
optuna.logging.set_verbosity(optuna.logging.WARNING)
folder = tempfile.mkdtemp()  # in real life a folder that you keep

# %% [markdown]
# ## A task
#
# A *task* is a data set with its splits, a metric, and numbers that describe it. This one comes with scikit-learn.

# %%
task = sn.tasks.digits()
print(task)

figure, axes = plt.subplots(1, 8, figsize=(8, 1.3))
for axis, image, label in zip(axes, task.train.inputs, task.train.targets):
    axis.imshow(image[0], cmap="gray")
    axis.set_title(int(label))
    axis.axis("off")

# %% [markdown]
# ## A search space
#
# A *search space* is all architectures, and how each becomes a network. `CellSpace` has a *cell* of four nodes; on each of the six
# edges between them is one of five operations. The cell is repeated in a skeleton whose width and depth are searched, too. An
# architecture is a dict of choices. What it will be can be said before any training:

# %%
space = sn.spaces.CellSpace().for_task(task)  # counts for inputs of this size
trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
architecture = space.suggest(trial)
print(architecture)
print(space.summary(architecture))
print(space.describe(architecture))

# %% [markdown]
# Many of the 15,625 cells are the same network: an edge that leads nowhere, or two edges that can change places. Their canonical keys
# are equal, and only one of them is ever trained.

# %%
draws = [space.suggest(optuna.create_study().ask()) for _ in range(200)]
cells = {tuple(one[f"op_{edge}"] for edge in range(6)) for one in draws}
keys = {space.canonical({**one, "width": 8, "depth": 1}) for one in draws}
print(f"{len(cells)} cells drawn at random are {len(keys)} different functions")

# %% [markdown]
# ## The search
#
# `create_study` returns an ordinary Optuna study. `surrogate="pretrained"` starts from what eight other image sets have taught, so
# that already the first trial is a recommendation. `limits` turn too large networks away before any training.

# %%
trainer = sn.Trainer(epochs=EPOCHS)
study = sn.create_study(
    task,
    space,
    storage=f"sqlite:///{folder}/nas.db",
    study_name="digits",
    surrogate="pretrained",
    limits={"parameters": 200_000},
    seed=0,
)
study.optimize(sn.Objective(task, space, trainer), n_trials=N_TRIALS)

# %% [markdown]
# Each trial carries what was predicted for it, before it was trained. The first ones have no prediction: a few results must tell the
# scale of this task's values first.

# %%
print("trial  predicted         measured  parameters  candidates")
for trial in study.trials:
    a = trial.user_attrs
    predicted = f"{a['predicted_value']:.3f} ± {a['predicted_std']:.3f}" if "predicted_value" in a else "-"
    print(f"{trial.number:5d}  {predicted:15s}   {trial.value:.4f}  {a['parameters']:10,.0f}  {a['n_candidates']:10d}")

# %% [markdown]
# Before the first result a prediction has no units: it is a standard score, 0 for a typical architecture. The second trial is a
# *control*, a typical architecture that the recommended ones must beat. From then on predictions are in the metric's own units.

# %%
values = np.array([trial.value for trial in study.trials])
figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(values, "o", label="trial")
axis.step(range(len(values)), np.maximum.accumulate(values), where="post", label="best so far")
axis.set_xlabel("trial")
axis.set_ylabel("validation accuracy")
axis.legend();

# %% [markdown]
# ## The winner
#
# `finalize` trains the best architecture once more, on training and validation data together, measures it once on the test split, and
# writes a folder that needs this package no longer.

# %%
result = sn.finalize(study, task, space, trainer, folder=f"{folder}/digits-final")
print(result.summary)
print(f"validation {result.validation_value:.4f}, test {result.test_value:.4f}")
print(sorted(file.name for file in result.folder.iterdir()))

# %% [markdown]
# Read back, it takes prepared inputs and gives the same outputs as the network that was trained:

# %%
network = sn.load_model(result.folder)
outputs = network(task.prepare(task.test.inputs[:8]))
print("predicted", outputs.argmax(dim=1).tolist())
print("true     ", task.test.targets[:8].tolist())

# %% [markdown]
# ## Where to go on
#
# - A second data set that starts from what this one has taught: `02_reuse_a_surrogate`.
# - Your own search space and data: `03_your_own_space_and_task`.
# - The study in a browser: `optuna-dashboard sqlite:///nas.db`, and `05_read_the_dashboard` on what is seen there.
