"""What optuna-dashboard shows of a study beyond its trials: pictures, figures, one note."""
