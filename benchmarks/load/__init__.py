"""Load, fairness and robustness of the server, measured over HTTP: `python -m benchmarks.load`."""
