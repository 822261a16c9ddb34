"""Baseline searchers with the `search` signature of a retriever."""
