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
# # Reuse a surrogate
#
# Two data sets, one after the other. What the search on the first has taught is kept in a file of text, and the search on the second
# starts from it. One to two minutes on two CPU cores.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only wait for each other on networks this small

import tempfile

import numpy as np
import optuna
from matplotlib import pyplot as plt
from sklearn.datasets import load_sample_images

import surrogate_nas as sn

SMALL = os.environ.get("NOTEBOOK_BUDGET") == "small"  # set where notebooks are tested
N_FIRST, N_SECOND, EPOCHS = (4, 3, 1) if SMALL else (16, 8, 4)
optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = f"sqlite:///{tempfile.mkdtemp()}/nas.db"  # in real life a file that you keep

space = sn.spaces.CellSpace()
trainer = sn.Trainer(epochs=EPOCHS)

# %% [markdown]
# ## The first data set: handwritten digits
#
# Without a past, the search starts *cold*: five trials of the base sampler before the surrogate has a say.

# %%
digits = sn.tasks.digits()
first = sn.create_study(digits, space, storage=storage, study_name="digits", seed=0)
first.optimize(sn.Objective(digits, space, trainer), n_trials=N_FIRST)
print(f"best of {N_FIRST}: {first.best_value:.4f}")

# %% [markdown]
# ## From a study to a surrogate
#
# Every finished study of this space in the storage is a *past task*: architectures, and what they reached. Eight more, of other image
# sets, ship with the package. The surrogate that is fitted to them is one file of text that runs nothing when it is read.

# %%
past = sn.read_history(storage, space=space) + sn.pretrained.history(space)
surrogate = sn.MetaSurrogate.fit(space, past, seed=0)
print("past task        pairs  quality")
for known in surrogate.tasks:
    quality = "unknown" if known["quality"] is None else f"{known['quality']:+.2f}"
    print(f"{known['name']:16s} {known['pairs']:5d}  {quality}")

path = tempfile.mkdtemp() + "/cells.surrogate"
surrogate.save(path)
print(os.path.getsize(path), "bytes")

# %% [markdown]
# The last column, `quality`, is the rank correlation of a past task's results with what the other past tasks predict for it. Where it is
# low, a task is unlike the others, and a search that starts from them should expect little. `sn.evaluate_history(past)` goes further
# and replays whole searches, without any training.

# %% [markdown]
# ## The second data set: pieces of two photographs
#
# scikit-learn comes with two photographs, of a temple in China and of a flower. From which one is a piece of 9×9 pixels? To be honest the
# three splits come from three separate strips of each photograph: pieces that overlap never lie in two of them.

# %%
rng = np.random.default_rng(0)


def pieces(strip, n, size=9):
    rows = rng.integers(0, strip.shape[0] - size, n)
    columns = rng.integers(0, strip.shape[1] - size, n)
    return np.stack([strip[r : r + size, c : c + size] for r, c in zip(rows, columns)])


splits = {"train": (0.0, 0.6, 600), "val": (0.6, 0.8, 300), "test": (0.8, 1.0, 300)}
x = {name: [] for name in splits}
for photo in load_sample_images().images:
    grey = photo[:424].mean(axis=2).reshape(212, 2, 320, 2).mean(axis=(1, 3)).astype(np.uint8)
    for name, (left, right, n) in splits.items():
        x[name].append(pieces(grey[:, int(left * 320) : int(right * 320)], n))
y = {name: np.repeat(["temple", "flower"], n) for name, (_, _, n) in splits.items()}

photos = sn.tasks.from_arrays(
    np.concatenate(x["train"]),
    y["train"],
    x_val=np.concatenate(x["val"]),
    y_val=y["val"],
    x_test=np.concatenate(x["test"]),
    y_test=y["test"],
    name="photos",
    flip=True,  # a mirrored piece is a piece of the same photograph
)
print(photos)

figure, axes = plt.subplots(2, 8, figsize=(8, 2.2))
for row, name in zip(axes, ("temple", "flower")):
    row[0].set_title(name, loc="left", fontsize=9)
    wanted = photos.train.targets == photos.classes.index(name)
    for axis, image in zip(row, photos.train.inputs[wanted]):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=255)
        axis.axis("off")

# %% [markdown]
# Before a single network is trained on the photographs, the surrogate has an opinion. Predictions are standard scores until there is a
# result: 0 is a typical architecture, larger is better.

# %%
candidates = [trial.params for trial in first.trials]
mean, std = surrogate.predict(candidates)
for best in np.argsort(-mean)[:3]:
    print(f"{mean[best]:+.2f} ± {std[best]:.2f}  {space.summary(space.from_params(candidates[best]))}")

# %% [markdown]
# ## Warm against cold
#
# Twice the same search, once with the surrogate and once without. (A comparison that proves something takes many seeds and tasks: see
# `studies/transfer_benchmark`. This one shows how it is done.)

# %%
searches = {}
for name, known in (("cold", None), ("warm", path)):
    study = sn.create_study(photos, space, storage=storage, study_name=name, surrogate=known, seed=1)
    study.optimize(sn.Objective(photos, space, trainer), n_trials=N_SECOND)
    searches[name] = study

figure, axis = plt.subplots(figsize=(6, 3))
for name, study in searches.items():
    values = [trial.value for trial in study.trials]
    axis.plot(range(1, len(values) + 1), np.maximum.accumulate(values), "o-", label=name)
    print(name, [f"{value:.3f}" for value in values])
axis.set_xlabel("trainings")
axis.set_ylabel("best validation accuracy so far")
axis.legend();

# %% [markdown]
# The study itself says what the past is worth to it by now. `transfer` is the probability that past tasks say anything about this one.
# The weights move with every result; a past task that misleads goes towards 0, or below it, where it is read the other way round.

# %%
attributes = searches["warm"].user_attrs
print("transfer", attributes["transfer"])
print("weights ", attributes["past_task_weights"])
print("ignored ", attributes["past_tasks_ignored"])

# %% [markdown]
# ## And so on
#
# The two studies on the photographs are in the storage now, and count for the third data set. The same from the command line:
#
# ```console
# $ surrogate-nas fit --space cell --storage sqlite:///nas.db --shipped --out cells.surrogate
# $ surrogate-nas search --data photos.npz --space cell --surrogate cells.surrogate --trials 20
# ```
