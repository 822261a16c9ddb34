"""Fixtures that install the stand-in device as the default device of genir."""

import pytest
from accelerate import PartialState
from accelerate.state import AcceleratorState, GradientState
from stand_in import DEVICE, stand_in
from torch.utils import backend_registration

from genir.models.devices import as_device


@pytest.fixture
def device(monkeypatch):
    """Select the stand-in device for training and answering, as CUDA would be selected."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch takes no device made in Python")
    monkeypatch.setattr("genir.retriever.as_device", lambda given: as_device(given or DEVICE))
    monkeypatch.setattr(PartialState, "default_device", property(lambda self: DEVICE))
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    with stand_in() as place:
        yield place
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
