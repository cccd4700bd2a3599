"""The final network as a folder that needs this package no longer, and back."""
