"""Train a model: `python train.py RECIPE --corpus DIR --out MODEL` (or under accelerate launch)."""

from genir.cli import run_train

if __name__ == "__main__":
    run_train()
