"""CorpusBrain end to end: joined targets, answers of several identifiers, a small linked corpus."""

import json
import math

import pytest
from fastapi.testclient import TestClient
from tiny import SCRATCH, under
from tokenizers import Tokenizer
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast
from typer.testing import CliRunner

from genir.cli import app
from genir.errors import InputError
from genir.evaluation.beam_tree import beam_tree
from genir.evaluation.diagnosis import diagnose
from genir.evaluation.explain import explain
from genir.models.tokenizer_training import train_vocabulary
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.training.pipeline import TrainingJob, train
from genir.types import Document

NAMES = ("bark", "cedar", "dune", "ember", "fjord", "grove", "heath", "islet")
"""One page for each name; pages link to each other in pairs."""


def linked_page(number):
    name, after = NAMES[number], NAMES[number ^ 1]
    lines = [f"the {name} has a {word} side" for word in ("north", "south", "west", "east")]
    lines[2] += f" near {after}"
    text = "\n".join(lines)
    start = text.index(after)
    link = {"start": start, "end": start + len(after), "target": after}
    return {"_id": name, "title": f"the {name}", "text": text, "links": [link], "odd": number % 2}


@pytest.fixture(scope="module")
def linked_corpus(tmp_path_factory):
    """Eight pages, with one train and one test query each, which two linked pages answer."""
    folder = tmp_path_factory.mktemp("linked")
    pages = [linked_page(number) for number in range(len(NAMES))]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
    asked = {"train": "what lies at {}?", "test": "where is {}?"}
    queries = []
    (folder / "qrels").mkdir()
    for split, form in asked.items():
        rows = ["query-id\tcorpus-id\tscore"]
        for number, name in enumerate(NAMES):
            key = f"{split}-{name}"
            queries.append({"_id": key, "text": form.format(name)})
            rows += [f"{key}\t{one}\t1" for one in (name, NAMES[number ^ 1])]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))
    return folder


def settings(*more):
    own = [f"model.{key}={json.dumps(value)}" for key, value in SCRATCH.items()]
    own += [f"tasks.{n}.{key}=3" for n in range(3) for key in ("page", "shortest")]
    return [*own, "training.precision=fp32", "training.num_dev_evals=1", "training.dev_queries=0",
            "training.batch_size=16", *more]  # fmt: skip


@pytest.fixture(scope="module")
def model(linked_corpus, tmp_path_factory):
    """The model after a second of training, in which it learns the train queries."""
    out = tmp_path_factory.mktemp("joined") / "model"
    train(TrainingJob("corpusbrain", linked_corpus, out, settings=settings(
        "training.max_steps=300", "training.epochs=100", "training.head_learning_rate=0.01",
        "training.label_smoothing=0", "tasks.3.weight=4")))  # fmt: skip
    return out


@pytest.fixture
def retriever(model):
    return Retriever.load(model, "cpu")


def test_all_that_a_query_leads_to_is_found_in_one_sequence(retriever):
    """The train queries have two relevant pages each; the earlier one is generated first."""
    asked = [f"what lies at {name}?" for name in NAMES]
    pairs = [sorted((n, n ^ 1)) for n in range(len(NAMES))]
    joined = retriever.search(asked, k=2)
    single = under(retriever, max_identifiers=1).search(asked, k=len(NAMES))
    for pair, together, alone in zip(pairs, joined, single, strict=True):
        first, second = (NAMES[n] for n in pair)
        assert [hit.key for hit in together] == [first, second]
        (hardly,) = (hit.score for hit in alone if hit.key == second)
        assert together[1].score > hardly + math.log(3)


@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize("where", [None, {"odd": 1}, {"odd": 7}])
def test_hits_keep_the_promises(retriever, k, where):
    matching = {name for n, name in enumerate(NAMES) if where is None or n % 2 == where["odd"]}
    for hits in retriever.search(["where is fjord?", "dune", ""], k, where):
        keys = [hit.key for hit in hits]
        assert len(keys) == len(set(keys)) == min(k, len(matching)) and set(keys) <= matching
        assert [(-hit.score, hit.key) for hit in hits] == sorted((-h.score, h.key) for h in hits)
        assert all(hit.score <= 1e-5 and hit.identifier == f"the {hit.key}" for hit in hits)


def test_a_saved_model_answers_alike(retriever, tmp_path):
    asked = ["what lies at cedar?", "where is heath?"]
    hits = retriever.search(asked, 5)
    retriever.save(tmp_path / "again")
    assert Retriever.load(tmp_path / "again", "cpu").search(asked, 5) == hits


def test_documents_come_and_go(retriever, tmp_path):
    retriever.save(tmp_path / "living")
    living = Retriever.load(tmp_path / "living", "cpu")
    living.delete(["cedar"])
    living.add([Document("new", "the inlet has a side", "the inlet")])
    (hits,) = living.search(["what lies at cedar?"], 100)
    assert {hit.key for hit in hits} == {*NAMES, "new"} - {"cedar"}
    living.close()


def test_evaluate_and_search_take_it(model, linked_corpus, tmp_path):
    output = tmp_path / "output.json"
    files = (
        "--queries",
        linked_corpus / "queries.jsonl",
        "--qrels",
        linked_corpus / "qrels/test.tsv",
    )
    quick = ("--baselines", "bm25", "--no-typos", "--latency-queries", 2, "--json", output)
    assert genir("evaluate", model, *files, *quick).exit_code == 0
    measured = json.loads(output.read_text())["systems"]
    assert set(measured) == {"genir", "bm25"} and measured["genir"]["R@100"] == 1
    found = genir("search", model, "what lies at dune?", "-k", "2", "--json")
    assert [hit["key"] for hit in json.loads(found.stdout)["hits"]] == ["dune", "ember"]


def genir(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_a_server_takes_it_and_refuses_the_tree_of_beams(retriever):
    with TestClient(create_app(retriever)) as client:
        answer = client.post("/v1/search", json={"query": "what lies at bark?", "k": 2})
        assert [hit["key"] for hit in answer.json()["hits"]] == ["bark", "cedar"]
        refused = client.get("/v1/explain", params={"query": "bark", "k": 2})
        assert (
            refused.status_code == 422
            and "strategy = 'corpusbrain' does not support it" in refused.json()["detail"]
        )


def test_features_of_one_identifier_are_refused(retriever):
    message = r"\[decoding\] strategy = 'corpusbrain' does not support it; use a model with"
    for asked in (
        lambda: explain(retriever, "bark", "bark"),
        lambda: beam_tree(retriever, "bark"),
        lambda: diagnose(retriever, [], []),
        lambda: retriever.search(["bark"], exact=True),
    ):
        with pytest.raises(InputError, match=message):
            asked()


REFUSED = [
    (["identifiers.scheme=residual"], "iss: join = true: .* scheme 'residual' .* 'title' or 'url'"),
    (["identifiers.scheme=passage"], "iss: join = true: .* scheme 'passage' cannot be concat"),
    (
        ['model={kind="encoder-head"}'],
        r"iss: join = true: a 'encoder-head' model .* kind = 'seq2seq', or leave",
    ),
    (
        ['losses=[{loss="margin"}]', "training.label_smoothing=0"],
        r"join = true: \[\[losses\]\] margin needs one identifier",
    ),
    (['losses=[{loss="cross-entropy", softmax="trie"}]'], "cross-entropy over legal symbols"),
    (
        ['tasks=[{task="queries"}]', "identifiers.scheme=atomic"],
        "max_identifiers = 5: .* or set max_identifiers",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_a_recipe_that_cannot_join_is_refused_at_once(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(
            TrainingJob(
                "corpusbrain", tmp_path / "never read", tmp_path / "model", settings=changes
            )
        )


def test_a_vocabulary_without_a_separator_is_refused(linked_corpus, tmp_path):
    result = train_vocabulary([Document("a", "abc the side")], 400).backend_tokenizer.to_str()
    plain = Tokenizer.from_str(result.replace("<0xFF>", "<other>"))
    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, **marks)
    tokenizer.save_pretrained(tmp_path / "bart")
    half = {"layers": 1, "attention_heads": 2, "ffn_dim": 8}
    sizes = {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in half.items()}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 1}
    config = BartConfig(vocab_size=len(tokenizer), d_model=8, **sizes, **ends)
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    changes = settings(f"model.source={tmp_path / 'bart'}", "training.max_steps=1")
    message = r"iss: join = true: .* neither a mask token nor <extra_id_0> nor <0xFF>; add a mask"
    with pytest.raises(InputError, match=message):
        train(TrainingJob("corpusbrain", linked_corpus, tmp_path / "model", settings=changes))
