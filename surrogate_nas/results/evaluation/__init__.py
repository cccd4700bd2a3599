"""What past tasks would have been worth to each other."""
