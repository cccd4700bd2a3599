"""The surrogate's mathematics; arrays only."""
