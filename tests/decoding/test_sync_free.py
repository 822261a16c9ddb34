"""A step must not ask the device for a value: on a GPU the host would wait for it every time.

Synchronisation can be detected on a CPU as well: reading a number out of a tensor, or a shape that
depends on values.
"""

import numpy as np
import pytest
import torch
from tiny import QUERIES, SCHEMES, tiny_retriever
from torch.profiler import ProfilerActivity, profile

from genir.decoding.beam import PruneOptions, prune
from genir.decoding.beam_state import Beams, initial_beams
from genir.decoding.edge_scorers import BeamUpdate, StepScorer
from genir.decoding.row_mask import RowMask
from genir.models.tokenization import encode_texts, pad_batch

WAITING = {
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::is_nonzero",
    "aten::nonzero",
    "aten::masked_select",
    "aten::equal",
    "aten::unique_dim",
    "aten::_unique2",
}


def search(reader, trie, live, beams):
    """Take the levels of a beam search."""
    current, taken = initial_beams(trie, len(QUERIES)), None
    done = Beams.empty(len(QUERIES), current.low.device)
    for depth in range(trie.depth):
        edges = trie.children(current.low, current.high, depth)
        log_p = reader.score(depth, taken, edges, live.any_live(edges.low, edges.high))
        ended = trie.is_terminal(edges.low, depth + 1)
        step = prune((current, done), edges, log_p, ended, PruneOptions(beams))
        current, done = step.beams, step.finished
        taken = BeamUpdate(
            current.low, current.high, current.score, step.parents, step.symbols, done.score
        )


@pytest.mark.parametrize("normalise", ["vocabulary", "trie"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_level_waits_for_the_device(scheme, normalise, tiny_encoder, tiny_corpus, tmp_path):
    retriever = tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "d.sqlite", scheme)
    model, trie = retriever.model.eval(), retriever.decoder.stage.trie
    masks = [np.arange(trie.rows) % 3 > 0, np.ones(trie.rows, dtype=bool)]
    live = RowMask.build(masks, [0, 1, 0])
    ids = encode_texts(model.tokenizer, QUERIES, 32)
    with torch.inference_mode():
        state = model.encode(*pad_batch(ids, model.tokenizer.pad_token_id))
        reader = StepScorer(model, state, normalise)
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as watched:
            search(reader, trie, live, beams=5)
    seen = {event.key for event in watched.key_averages()}
    assert "aten::topk" in seen
    assert not seen & WAITING
