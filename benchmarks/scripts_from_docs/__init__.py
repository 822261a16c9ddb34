"""Small analyses of runs that docs/results cites: each prints the figures of one paragraph."""
