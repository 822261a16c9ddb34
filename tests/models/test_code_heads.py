"""Heads for codes: RIPOR's inner products with the decoder state, by hand."""

import numpy as np
import pytest
import torch
from test_seq2seq import CORPUS, TABLE, Levels, build, inputs

from genir.config import StageConfig
from genir.errors import InputError
from genir.models.code_heads import HeadContext, InnerProductHead
from genir.models.decoder_vectors import first_decoder_states
from genir.models.registry import MODELS, model_options
from genir.models.seq2seq import Seq2SeqModel

BOOKS = np.array([[[1, 0], [0, 2]], [[3, 0], [-1, 1]]], dtype=np.float32)
"""Two levels of two codewords of dimension 2."""


class Quantised(Levels):
    """A scheme with codebooks, and a last level of ties."""

    def __init__(self, codebooks, ties):
        levels, codes, _ = codebooks.shape
        super().__init__([codes] * levels + [ties])
        self.codebooks = codebooks

    def full_codebooks(self):
        return self.codebooks


def head(width=2):
    return InnerProductHead.build(HeadContext([2, 2, 3], torch.zeros(5, width), TABLE, None, BOOKS))


def test_the_logit_of_a_code_is_the_product_of_its_codeword_with_the_state():
    made, state = head(), torch.tensor([[[2.0, 5.0]]])
    assert made.logits(state, 0).tolist() == [[[2.0, 10.0]]]
    assert made.logits(state, 1).tolist() == [[[6.0, 3.0]]]
    assert made.logits(state, 1, torch.tensor([[[1, 1, 0]]])).tolist() == [[[3.0, 3.0, 6.0]]]
    assert made.logits(state, 2).tolist() == [[[0.0, 0.0, 0.0]]]  # ties have no codewords


def test_a_code_at_each_position_has_an_input_of_its_own():
    made = head()
    given = made.inputs(torch.tensor([[1, 1, 2]]), torch.arange(3))
    assert given.tolist() == [[[0.0, 2.0], [-1.0, 1.0], [0.0, 0.0]]]
    with torch.no_grad():
        made.symbols += 1  # inputs and codewords are trained separately
    assert made.logits(torch.tensor([[2.0, 5.0]]), 0).tolist() == [[2.0, 10.0]]


def test_codewords_of_another_dimension_are_refused():
    with pytest.raises(InputError, match="dimension 2, but decoder states of dimension 4"):
        head(width=4)


@pytest.fixture
def model():
    made = build(head="inner-product").eval()
    books = np.random.default_rng(0).standard_normal((2, 4, 16)).astype(np.float32)
    made.build_head(Quantised(books, 2), TABLE, None)
    return made


def test_a_search_scores_codewords_with_the_state_after_the_prefix(model):
    asked = inputs(model, "create")
    symbols = torch.tensor([[[2, 1, 1]]])
    state, hidden = model.step(model.encode(*asked), None, None)
    first = model.logits(hidden, 0, symbols[:, :, :1])
    np.testing.assert_allclose(
        first.item(), (hidden[0, 0] @ model.head.codewords[2]).item(), rtol=1e-5
    )
    _, after = model.step(state, torch.zeros(1, 1, dtype=torch.long), symbols[:, :, 0])
    assert not torch.allclose(after, hidden)
    states = model.teacher_forced_states(asked, symbols)
    torch.testing.assert_close(states[1], after, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.logits(after, 1, symbols[:, :, 1:2]).item(),
        (after[0, 0] @ model.head.codewords[4 + 1]).item(), rtol=1e-5,
    )  # fmt: skip


def test_document_vectors_are_the_first_states_of_the_decoder(model):
    vectors = model.document_vectors(CORPUS[:3], {})
    assert vectors.shape == (3, 16) and vectors.dtype == np.float32
    one = CORPUS[1]
    _, hidden = model.step(model.encode(*inputs(model, f"{one.title}. {one.text}")), None, None)
    np.testing.assert_allclose(vectors[1], hidden[0, 0].detach().numpy(), rtol=1e-4, atol=1e-5)
    cut = first_decoder_states(model, [f"{one.title}. {one.text}"], 2)
    assert not np.allclose(cut[0], vectors[1])


def test_a_saved_head_is_read_back(model, tmp_path):
    torch.nn.init.normal_(model.head.codewords)
    model.save(tmp_path)
    again = Seq2SeqModel.load(tmp_path, Quantised(np.zeros((2, 4, 16), np.float32), 2), TABLE)
    assert torch.equal(again.head.codewords, model.head.codewords)
    assert {"head.symbols", "head.codewords"} <= again.new_symbols
    assert again.identifier_bytes() == 4 * 16 * (10 + 8)


def test_the_same_identifiers_with_another_head_are_refused(model):
    child = build()
    with pytest.raises(InputError, match=r"head = 'tied', but .* 'inner-product'"):
        child.inherit_identifiers(model, Quantised(np.zeros((2, 4, 16)), 2), TABLE)


@pytest.mark.parametrize(
    ("scheme", "head", "problem"),
    [
        ("atomic", "inner-product", "scheme 'atomic' has no codebooks"),
        ("title", "pawa", "identifiers of the scheme 'title' are tokens of the vocabulary"),
        ("string", "inner-product", "identifiers of the scheme 'string' are tokens"),
    ],
)
def test_a_head_that_does_not_fit_the_identifiers_is_refused(scheme, head, problem):
    stage = StageConfig.model_validate(
        {
            "tasks": [{"task": "queries"}],
            "identifiers": {"scheme": scheme},
            "model": {"kind": "seq2seq", "head": head},
        }
    )
    with pytest.raises(InputError, match=problem):
        MODELS["seq2seq"].check_recipe(model_options(stage.model), stage)
