"""Samplers for Optuna studies."""
