"""A domain as small as one can be."""
