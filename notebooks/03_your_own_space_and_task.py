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
# # Your own search space and task
#
# Nothing in the package is made for images only. Here we classify short signals: sines, squares and saw teeth in noise. That takes a
# task of our own, a space of our own, and nothing else. About a minute on two CPU cores.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only wait for each other on networks this small

import numpy as np
import optuna
import torch
from matplotlib import pyplot as plt
from sklearn.metrics import accuracy_score
from torch import nn

import surrogate_nas as sn

SMALL = os.environ.get("NOTEBOOK_BUDGET") == "small"  # set where notebooks are tested
N_TRIALS, EPOCHS = (6, 1) if SMALL else (20, 5)
optuna.logging.set_verbosity(optuna.logging.WARNING)

# %% [markdown]
# ## The task
#
# A task says how raw rows become network inputs (`prepare`), how they may be varied (`augment`), what is minimized in training
# (`loss`), and what counts in the end (`score`, with the metric's direction). `meta_features` describe it to the surrogate.


# %%
class Signals(sn.Task):
    """1,200 made-up signals of 64 numbers, one of three shapes, with noise, at any phase."""

    classes = ("sine", "square", "saw")

    def __init__(self, noise=0.8, merge=False, seed=0):
        rng = np.random.default_rng(seed)
        kind = rng.integers(3, size=1200)
        phase = rng.uniform(0, 1, (1200, 1)) + np.linspace(0, 4, 64) * rng.uniform(0.5, 1.5, (1200, 1))
        shapes = [np.sin(2 * np.pi * phase), np.sign(np.sin(2 * np.pi * phase)), 2 * (phase % 1) - 1]
        signals = np.choose(kind[:, None], shapes) + noise * rng.normal(size=phase.shape)

        x = torch.from_numpy(signals.astype(np.float32))[:, None]
        y = torch.from_numpy(kind)
        first = 900 if merge else 600
        self.name, self.noise, self.seed = "signals", noise, seed
        self.train = sn.Split(x[:first], y[:first])
        self.validation = sn.Split(x[600:900], y[600:900])
        self.test = sn.Split(x[900:], y[900:])
        self.metric = sn.Metric(
            "accuracy", "maximize", lambda targets, p: accuracy_score(targets, p.argmax(axis=1))
        )
        self.input_shape, self.n_outputs = (1, 64), 3

    def prepare(self, inputs):
        return inputs / 1.4

    def augment(self, inputs, strength, generator):
        return inputs + 0.3 * strength * torch.randn(inputs.shape, generator=generator).to(inputs)

    def loss(self, outputs, targets, label_smoothing):
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def score(self, outputs, targets):
        return self.metric.compute(targets.numpy(), outputs.softmax(dim=1).numpy())

    def merged(self):
        return Signals(self.noise, merge=True, seed=self.seed)

    @property
    def meta_features(self):
        return {"n_train": float(len(self.train)), "n_classes": 3.0, "length": 64.0}


task = Signals()
print(task)
figure, axes = plt.subplots(1, 3, figsize=(8, 1.6), sharey=True)
for kind, axis in enumerate(axes):
    axis.plot(task.train.inputs[task.train.targets == kind][0, 0])
    axis.set_title(task.classes[kind])

# %% [markdown]
# ## The space
#
# `suggest` asks a trial for choices, `build` makes the network. A choice may depend on another: the second width exists only where there
# is a second layer. Two methods would do; three more make the search better:
#
# - `canonical`: with one layer it makes no difference how layers are joined, and with a kernel of one step neither does dilation.
#   The key leaves out what has no effect, so that the same network is not trained twice.
# - `features`: numbers that say more than the choices do. How far does a network see? That is a sum over layers.
# - `summary`: the architecture in a few words.


# %%
class ConvSpace(sn.SearchSpace):
    """One to four convolutions over time, plain or with a residual connection."""

    def suggest(self, trial):
        depth = trial.suggest_int("depth", 1, 4)
        layers = [
            {
                "width": trial.suggest_int(f"width_{i}", 4, 32, step=4),
                "kernel": trial.suggest_categorical(f"kernel_{i}", (1, 3, 7)),
                "dilation": trial.suggest_categorical(f"dilation_{i}", (1, 2, 4)),
            }
            for i in range(depth)
        ]
        joined = trial.suggest_categorical("joined", ("plain", "residual"))
        rate = trial.suggest_float("learning_rate", 3e-3, 3e-1, log=True)  # the Trainer reads this name
        return {"layers": layers, "joined": joined, "learning_rate": rate}

    def build(self, architecture, task):
        return ConvNet(architecture, task.input_shape[0], task.n_outputs)

    def canonical(self, architecture):
        joined = architecture["joined"] if len(architecture["layers"]) > 1 else "either"
        layers = [
            (one["width"], one["kernel"], one["dilation"] if one["kernel"] > 1 else 1)
            for one in architecture["layers"]
        ]
        return f"{layers} {joined} {architecture['learning_rate']}"

    def features(self, architecture):
        seen = 1 + sum((one["kernel"] - 1) * one["dilation"] for one in architecture["layers"])
        return {"log_seen": float(np.log(seen))}

    def summary(self, architecture):
        layers = [f"{one['width']}@{one['kernel']}/{one['dilation']}" for one in architecture["layers"]]
        return f"{' → '.join(layers)}, {architecture['joined']}, rate {architecture['learning_rate']:.3g}"


class ConvNet(nn.Module):
    def __init__(self, architecture, channels, n_outputs):
        super().__init__()
        self.layers = nn.ModuleList()
        for one in architecture["layers"]:
            convolution = nn.Conv1d(
                channels, one["width"], one["kernel"], padding="same", dilation=one["dilation"]
            )
            self.layers.append(nn.Sequential(convolution, nn.BatchNorm1d(one["width"])))
            channels = one["width"]
        self.residual = architecture["joined"] == "residual"
        self.head = nn.Linear(channels, n_outputs)

    def forward(self, x):
        for position, layer in enumerate(self.layers):
            y = layer(x)
            shared = min(x.shape[1], y.shape[1])
            if self.residual and position:  # add what has a channel on both sides
                y = torch.cat([y[:, :shared] + x[:, :shared], y[:, shared:]], dim=1)
            x = torch.relu(y)
        return self.head(x.mean(dim=2))


space = ConvSpace()

# %% [markdown]
# ## Do they keep to the contract?
#
# `surrogate_nas.testing` has suites that find the usual mistakes: an architecture that cannot be replayed, equal keys for different
# networks, a metric whose direction contradicts the loss. In your project they are test classes for pytest (`docs/extending.md`);
# here we call a few of their tests by hand. Silence is good news.

# %%
from surrogate_nas.testing import SearchSpaceTestCase, TaskTestCase

suite = SearchSpaceTestCase()
suite.test_the_same_choices_give_the_same_architecture(space)
suite.test_equal_keys_are_networks_of_one_size(space, task)
suite.test_networks_fit_the_task(space, task)
suite = TaskTestCase()
suite.test_outputs_with_less_loss_score_better(task, "validation")
suite.test_augmentation_is_seeded(task)
print("no complaints")

# %% [markdown]
# ## The search
#
# The same lines as for a ready space. No surrogate ships for a space of our own, so this one learns from the study alone.

# %%
trainer = sn.Trainer(epochs=EPOCHS)
study = sn.create_study(task, space, limits={"parameters": 10_000}, seed=0)
study.optimize(sn.Objective(task, space, trainer), n_trials=N_TRIALS)
for trial in sorted(study.trials, key=lambda trial: -trial.value)[:5]:
    print(f"{trial.value:.3f}  {trial.user_attrs['parameters']:6.0f} parameters  {trial.user_attrs['architecture']}")

# %% [markdown]
# The next task of this kind need not start from nothing. Noisier signals, and the study above as the past:

# %%
earlier = sn.PastTask(
    "signals", [t.params for t in study.trials], [t.value for t in study.trials], task.direction
)
surrogate = sn.MetaSurrogate.fit(space, [earlier], seed=0)
noisy = Signals(noise=1.2, seed=1)
second = sn.create_study(noisy, space, surrogate=surrogate, limits={"parameters": 10_000}, seed=0)
second.optimize(sn.Objective(noisy, space, trainer), n_trials=max(N_TRIALS // 4, 2))
print([f"{trial.value:.3f}" for trial in second.trials])
