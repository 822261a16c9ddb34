"""Benchmarks of updates: documents added to and deleted from a trained model."""
