from itertools import pairwise

import torch
from torch import nn

from genir.models.engine.weight_cache import CastCache, ParameterVersions


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 16)
        self.first, self.norm, self.last = nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 4)

    def forward(self, ids):
        return self.last(self.norm(self.first(self.words(ids))))


def answers(precast, ids):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return precast.net(ids=ids), precast(ids=ids)


def test_the_twin_answers_as_autocast_does_to_the_bit_and_follows_the_weights():
    torch.manual_seed(0)
    net, ids = Halves().eval(), torch.arange(9)
    precast = CastCache(net)
    plain, own = answers(precast, ids)
    assert own.dtype == torch.bfloat16 and torch.equal(plain, own)
    twin = precast.cast_copy
    assert twin is not None and twin.words.weight is net.words.weight
    assert twin.first.weight.dtype == torch.bfloat16 and net.first.weight.dtype == torch.float32
    answers(precast, ids)
    assert precast.cast_copy is twin, "made once"
    with torch.no_grad():
        net.last.weight.mul_(2)
    plain, other = answers(precast, ids)
    assert torch.equal(plain, other) and not torch.equal(own, other)


def test_training_and_float32_use_the_weights_themselves():
    precast, ids = CastCache(Halves().eval()), torch.arange(9)
    assert precast(ids=ids).requires_grad
    with torch.no_grad():
        assert precast(ids=ids).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        precast(ids=ids).float().sum().backward()
    assert precast.cast_copy is None and precast.net.first.weight.grad is not None


def test_converted_weights_are_used_on_a_cpu_except_in_training():
    def open_halves(net, dtype):
        return lambda ids: (net, dtype, len(ids))

    net, ids = Halves().eval(), torch.arange(9)
    precast = CastCache(net, packed=True, converter=open_halves)
    with torch.no_grad():
        assert precast(ids=ids) == (net, torch.float32, 9)
        with torch.autocast("cpu", torch.bfloat16):
            assert precast(ids=ids) == (net, torch.bfloat16, 9)
    assert precast(ids=ids).requires_grad


def test_a_change_of_any_parameter_is_seen():
    net = Halves()
    watch = ParameterVersions(net)
    states = [watch.current()]
    with torch.no_grad():
        net.norm.bias.add_(1)
    states.append(watch.current())
    net.last.weight.data = torch.zeros(4, 32)
    states.append(watch.current())
    net.first.bias = nn.Parameter(torch.zeros(32))
    states.append(watch.current())
    net.double()
    states.append(watch.current())
    assert watch.current() == states[-1]
    assert all(one != other for one, other in pairwise(states))
