"""Baseline retrieval systems with a common `search` method."""
