"""Scores of re-rankers: equal to the libraries', in any batches; models that are refused."""

import json
import shutil

import pytest
import torch
from rerankers import CROSS_ENCODERS, REFUSED, Rerankers, library_scores
from transformers import AutoTokenizer, T5ForConditionalGeneration

from genir.cancellation import Cancelled, cancel_when
from genir.config import RerankSection
from genir.errors import InputError
from genir.models import reranker as module
from genir.models.digests import weights_digest
from genir.models.reranker import MONOT5_LENGTH, Reranker

PAIRS = [
    ("copy a file", "duplicate a document here"), ("copy a file", ""), ("x", "watch the disk"),
    ("how do i delete a folder?", "remove a directory. " * 40), ("copy a file", "watch. network"),
]  # fmt: skip


@pytest.fixture(scope="module")
def rerankers(tiny_encoder, tmp_path_factory):
    return Rerankers(tiny_encoder, tmp_path_factory.mktemp("rerankers"))


def monot5_scores(folder, pairs, length=MONOT5_LENGTH):
    """Score pairs one by one: "Relevant:" and the end token after the text, which may be cut."""
    net = T5ForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    yes, no = tokenizer.convert_tokens_to_ids(["true", "false"])
    end = tokenizer.encode("Relevant:")
    scores = []
    for query, text in pairs:
        start = tokenizer.encode(f"Query: {query} Document: {text}", add_special_tokens=False)
        ids = torch.tensor([start[: length - len(end)] + end])
        with torch.no_grad():
            logits = net(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        scores.append(float(logits[yes] - torch.logsumexp(logits[[yes, no]], 0)))
    return scores


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize("name", CROSS_ENCODERS)
def test_scores_are_those_of_the_library(rerankers, name, batch_size):
    folder = rerankers.write(name)
    expected = library_scores(folder, PAIRS)
    assert len({round(score, 4) for score in expected}) == len(PAIRS)
    found = Reranker(folder, 0, "cpu").score(PAIRS, batch_size)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
@pytest.mark.parametrize("length", [0, 24])
def test_monot5(rerankers, length, batch_size):
    folder = rerankers.write("monot5")
    expected = monot5_scores(folder, PAIRS, length or MONOT5_LENGTH)
    assert len({round(score, 4) for score in expected}) == len(PAIRS)
    found = Reranker(folder, length, "cpu").score(PAIRS, batch_size)
    assert found == pytest.approx(expected, abs=1e-5)


def test_length_cuts_pairs(rerankers):
    folder = rerankers.write("bert")
    long = [("copy", "remove a directory here. " * 9), ("copy", "remove a directory here. " * 8)]
    whole, cut = (Reranker(folder, length, "cpu").score(long, 2) for length in (0, 10))
    assert abs(whole[0] - whole[1]) > 1e-3 and cut[0] == pytest.approx(cut[1], abs=1e-6)


@pytest.mark.parametrize(("name", "most"), [("bert", 82), ("roberta", 81)])
def test_length_beyond_the_positions(rerankers, name, most):
    folder = rerankers.write(name)
    message = rf"^\[rerank\] length = {most + 1}: the cross-encoder .* takes at most {most} tokens"
    with pytest.raises(InputError, match=message):
        Reranker(folder, most + 1, "cpu")
    Reranker(folder, most, "cpu").score([("copy", "delete a folder. " * 50)], 1)


def test_length_without_room(rerankers):
    with pytest.raises(InputError, match=r"^\[rerank\] length = 3: leaves no room for a text"):
        Reranker(rerankers.write("monot5"), 3, "cpu")


@pytest.mark.parametrize("name", REFUSED)
def test_refused(rerankers, offline, name):
    folder = str(rerankers.folder / name) if name == "absent" else rerankers.write(name)
    with pytest.raises(InputError) as error:
        Reranker(folder, 0, "cpu")
    assert str(error.value).startswith(f"[rerank] model: cannot load {folder!r}: ")
    assert REFUSED[name] in str(error.value) and "'minilm'" not in str(error.value)


@pytest.mark.parametrize(
    "changes", [{"architectures": [1]}, {"sentence_transformers": {"activation_fn": 5}}]
)
def test_a_configuration_of_wrong_types(rerankers, tmp_path, changes):
    folder = shutil.copytree(rerankers.write("bert"), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=r"^\[rerank\] model: cannot load .* its configuration"):
        Reranker(str(folder), 0, "cpu")


def test_scores_that_are_not_finite(rerankers, monkeypatch):
    reranker = Reranker(rerankers.write("bert"), 0, "cpu")
    monkeypatch.setattr(reranker, "_predict", lambda pairs: [float("nan")] * len(pairs))
    with pytest.raises(InputError, match="returns scores that are not finite"):
        reranker.score(PAIRS, 2)


def test_cancelled_between_batches(rerankers, monkeypatch):
    reranker = Reranker(rerankers.write("bert"), 0, "cpu")
    scored, predict = [], reranker._predict

    def counted(pairs):
        scored.append(len(pairs))
        return predict(pairs)

    monkeypatch.setattr(reranker, "_predict", counted)
    with cancel_when(lambda: len(scored) == 2), pytest.raises(Cancelled):
        reranker.score(PAIRS, 1)
    assert scored == [1, 1]


def test_no_pairs(rerankers):
    reranker = Reranker(rerankers.write("bert"), 0, "cpu")
    assert reranker.score([], 32) == [] and reranker.cost(50) == "no pairs"


def test_cost(rerankers, monkeypatch):
    clock = iter((10.0, 10.5))
    reranker = Reranker(rerankers.write("bert"), 0, "cpu")
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    reranker.score(PAIRS, 32)
    assert reranker.cost(50) == "10 pairs a second, 5,000 ms for 50 pairs"


def test_digest_follows_the_folder(rerankers, tmp_path):
    folder = tmp_path / "copy"
    rerankers.bert(folder)
    [name] = RerankSection(model=str(folder)).weights()
    before = weights_digest(name)
    assert before.startswith("sha256 ") and before == weights_digest(name)
    rerankers.bert(folder)  # other random weights
    assert weights_digest(name) != before
    assert RerankSection().weights() == []
