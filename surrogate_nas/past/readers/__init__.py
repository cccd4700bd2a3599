"""Studies and their results out of an Optuna storage: by Optuna, by SQL, from a cache."""
