"""A test of past tasks without training: how much each would have helped the others."""
