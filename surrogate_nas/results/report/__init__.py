"""A study as one HTML file that opens offline: the answer first, then how it was found."""
