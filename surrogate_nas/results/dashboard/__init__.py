"""A study's page in optuna-dashboard: pictures of architectures, figures and a note."""
