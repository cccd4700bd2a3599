"""Image classification: tasks, metrics of them and search spaces."""
