"""Optuna storages: opened, waited for, kept whole."""
