"""Benchmarks of the forward passes and of decoding."""
