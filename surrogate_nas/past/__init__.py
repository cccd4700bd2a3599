"""Results of past tasks: from a storage, from tables, mapped to a changed space."""
