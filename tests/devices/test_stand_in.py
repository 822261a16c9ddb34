"""The simulated device rejects the same operations as CUDA, and counts synchronisations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stand_in import OnTwoDevices, watched
from tiny import QUERIES, SCHEMES, tiny_retriever
from torch import nn

from genir.decoding.beam import beam_steps
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions

REFUSED = {
    "adding": lambda here, there: there + here,
    "looking up": lambda here, there: F.embedding(torch.tensor([0]), there),
    "gathering": lambda here, there: there.gather(1, torch.zeros(2, 1, dtype=torch.long)),
    "multiplying": lambda here, there: there @ here.T,
    "joining": lambda here, there: torch.cat([here, there]),
    "indexing from there": lambda here, there: here[(there[:, 0] > 0).long()],
    "drawing": lambda here, there: torch.rand(
        2, device=there.device, generator=torch.Generator().manual_seed(0)
    ),
}
ALLOWED = {
    "a number": lambda here, there: there * torch.tensor(2.0),
    "indices from here": lambda here, there: there[torch.tensor([0, 1])],
    "a copy": lambda here, there: there.copy_(here),
    "a choice": lambda here, there: torch.where(there > 0, there, torch.tensor(0.0)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_two_devices_are_refused(case, device):
    with pytest.raises(OnTwoDevices):
        REFUSED[case](torch.ones(2, 3), torch.ones(2, 3, device=device))


@pytest.mark.parametrize("case", ALLOWED)
def test_operations_that_cuda_allows_are_allowed(case, device):
    made = ALLOWED[case](torch.ones(2, 3), torch.ones(2, 3, device=device))
    assert made.device == device
    assert made.sum().item() > 0


def test_numpy_reads_nothing_there(device):
    there = torch.ones(2, device=device)
    with pytest.raises(TypeError, match="cpu"):
        there.numpy()
    assert there.cpu().numpy().tolist() == there.tolist() == [1.0, 1.0]


def test_training_on_the_device_equals_the_cpu(device):
    found = []
    for place in (torch.device("cpu"), device):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
        net.to(place)
        inputs, classes = torch.ones(5, 3), torch.tensor([0, 1, 1, 0, 1])
        for _ in range(3):
            F.cross_entropy(net(inputs.to(place)), classes.to(place)).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert net[0].weight.device == place
        found.append(net[0].weight.detach().cpu())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_search_waits_at_no_level(scheme, device, tiny_encoder, tiny_corpus, tmp_path):
    path = tmp_path / "documents.sqlite"
    retriever = tiny_retriever(tiny_encoder, tiny_corpus, path, scheme).to(device)
    masks = [
        np.arange(retriever.decoder.stage.trie.rows) % 3 > 0,
        np.ones(retriever.decoder.stage.trie.rows, dtype=bool),
    ]
    live = RowMask.build(masks, [0, 1, 0]).to(device)
    inputs, options = retriever.decoder.stage.encode(QUERIES), SearchOptions(beams=4)
    watched.clear()
    steps = list(beam_steps(retriever.model, retriever.decoder.stage.trie, inputs, live, options))
    assert len(steps) == retriever.decoder.stage.trie.depth
    # transformers checks once whether the encoder's mask hides any token.
    assert watched.total() <= 1
