"""Inference runtime for common model families, on the original weights."""
