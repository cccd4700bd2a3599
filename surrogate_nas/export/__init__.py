"""The final network as a folder that works without this package, written and read back."""
