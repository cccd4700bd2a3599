"""The ``.surrogate`` file and its parts, checked when read."""
