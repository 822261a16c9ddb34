"""The recipes side by side, from a plan: `make results`."""
