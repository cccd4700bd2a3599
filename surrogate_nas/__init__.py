"""Predictor-based neural architecture search as ordinary Optuna studies."""
