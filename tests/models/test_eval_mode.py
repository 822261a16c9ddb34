import numpy as np
import pytest
import torch
from torch import nn

from genir.models.encoder import TextEncoder
from genir.models.eval_mode import evaluating


class Counting(nn.Module):
    """Notes every change of its mode."""

    def __init__(self):
        super().__init__()
        self.modes = []

    def train(self, mode=True):
        self.modes.append(mode)
        return super().train(mode)


def test_training_mode_comes_back_also_after_an_error():
    module = Counting()
    with evaluating(module):
        assert not module.training
    assert module.training and module.modes == [False, True]
    with pytest.raises(ValueError, match="odd"), evaluating(module):
        raise ValueError("odd")
    assert module.training


def test_a_module_in_evaluation_mode_is_not_walked():
    module = nn.Sequential(Counting()).eval()
    module[0].modes.clear()
    with evaluating(module):
        assert not module.training
    assert module[0].modes == [] and not module.training


def test_a_pretrained_encoder_keeps_its_converted_weights_between_calls(tiny_encoder):
    encoder = TextEncoder.pretrained(str(tiny_encoder), length=12)
    vectors = encoder.embed(["copy a file"], "document")
    twin = encoder.cast_cache.cast_copy
    assert twin is not None
    assert np.array_equal(encoder.embed(["copy a file"], "document"), vectors)
    assert encoder.cast_cache.cast_copy is twin
    with torch.no_grad():
        next(encoder.backbone.parameters()).add_(1.0)
    encoder.embed(["copy a file"], "document")
    assert encoder.cast_cache.cast_copy is not twin
