"""Callbacks of a training (`on_step`) that end it at a step."""

import signal
from dataclasses import replace

import pytest

from genir.training.pipeline import train
from genir.training.stop_request import Stopped


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def crash():
    raise KeyboardInterrupt  # like a kill: nothing is saved on exit


def at_step(number, act):
    """Return a callback that acts after a step, counted over all trainings of a job."""
    steps = []

    def callback(step, loss):
        steps.append(step)
        if len(steps) == number:
            act()

    return callback


def interrupted(job, number, act=ctrl_c):
    """Train until a step, which ends the training."""
    with pytest.raises((Stopped, KeyboardInterrupt)):
        train(replace(job, on_step=[at_step(number, act)]))


def killed(job, number):
    """Train until a step, which is neither evaluated nor saved."""
    interrupted(job, number, crash)
