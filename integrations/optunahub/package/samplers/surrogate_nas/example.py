"""A search that starts from one past study, by a sampler from OptunaHub."""

from __future__ import annotations

import optuna
import optunahub

OPERATIONS = ("conv_1x1", "conv_3x3", "pool", "skip")


def choices(trial: optuna.trial.BaseTrial) -> list[str]:
    """Ask for the operation on each of six edges."""
    return [trial.suggest_categorical(f"edge_{i}", OPERATIONS) for i in range(6)]


def accuracy(edges: list[str], favourite: str) -> float:
    """Stand in for training a network."""
    return 0.8 + 0.03 * edges.count(favourite) - 0.02 * abs(edges.count("skip") - 1)


if __name__ == "__main__":
    hub = optunahub.load_module("samplers/surrogate_nas")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    earlier = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    earlier.optimize(lambda trial: accuracy(choices(trial), "conv_3x3"), n_trials=40)

    past = hub.PastTask(
        "earlier", [t.params for t in earlier.trials], [t.value for t in earlier.trials]
    )
    surrogate = hub.MetaSurrogate.fit(choices, [past], seed=0)
    study = optuna.create_study(
        direction="maximize",
        sampler=hub.SurrogateSampler(choices, surrogate=surrogate, seed=0),
    )
    study.optimize(lambda trial: accuracy(choices(trial), "conv_3x3") - 0.05, n_trials=10)
    for trial in study.trials:
        print(trial.number, trial.value, trial.user_attrs.get("predicted_value"))
