"""Past tasks in, predictions for a target task out."""
