"""Measurements for docs/results, run from the root of the repository."""
