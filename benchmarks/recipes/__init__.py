"""Every recipe of the plan, trained and compared: `python -m benchmarks.recipes`."""
