"""Ways to make a Task from what users have."""
