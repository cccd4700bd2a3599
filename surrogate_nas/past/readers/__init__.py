"""Studies and their results out of an Optuna storage: by Optuna, or by SQL."""
