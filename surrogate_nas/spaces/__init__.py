"""Ready-made search spaces, one file a family."""
