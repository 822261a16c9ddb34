"""A step must not ask the device for a value: on a GPU the host would wait for it every time.

What would wait there shows on a CPU as well: reading a number out of a tensor, or a shape that
depends on values.
"""

import numpy as np
import pytest
import torch
from tiny import QUERIES, SCHEMES, tiny_retriever
from torch.profiler import ProfilerActivity, profile

from genir.decoding.beam import Choice, advance
from genir.decoding.beams import Beams, root
from genir.decoding.masks import LiveRows
from genir.decoding.readers import StepReader, Taken
from genir.models.encoder import encode_texts, pad_batch

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
    current, taken = root(trie, len(QUERIES)), None
    done = Beams.none(len(QUERIES), current.low.device)
    for depth in range(trie.depth):
        edges = trie.children(current.low, current.high, depth)
        log_p = reader.read(depth, taken, edges, live.legal(edges.low, edges.high))
        ended = trie.ended(edges.low, depth + 1)
        step = advance((current, done), edges, log_p, ended, Choice(beams))
        current, done = step.kept, step.done
        taken = Taken(
            current.low, current.high, current.score, step.parents, step.symbols, done.score
        )


@pytest.mark.parametrize("normalise", ["vocabulary", "legal"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_level_waits_for_the_device(scheme, normalise, tiny_encoder, tiny_corpus, tmp_path):
    retriever = tiny_retriever(tiny_encoder, tiny_corpus, tmp_path / "d.sqlite", scheme)
    model, trie = retriever.model.eval(), retriever.trie
    masks = [np.arange(trie.rows) % 3 > 0, np.ones(trie.rows, dtype=bool)]
    live = LiveRows.build(masks, [0, 1, 0])
    ids = encode_texts(model.tokenizer, QUERIES, 32)
    with torch.inference_mode():
        state = model.start(*pad_batch(ids, model.tokenizer.pad_token_id))
        reader = StepReader(model, state, normalise)
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as watched:
            search(reader, trie, live, beams=5)
    seen = {event.key for event in watched.key_averages()}
    assert "aten::topk" in seen
    assert not seen & WAITING
