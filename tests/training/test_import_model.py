"""Models of other programs: their scores in genir are those of transformers."""

import itertools
import json
import random

import pytest
import torch
from fastapi.testclient import TestClient
from published import BASE_ROWS, CODES, LEVELS, ddro, genre
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from typer.testing import CliRunner

from genir import evaluate
from genir.cli import app
from genir.errors import InputError
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.training.import_model import ImportRequest, import_model
from genir.training.pipeline import TrainingJob, train

QUERIES = ["how do i copy a file?", "erase <mask> my disk", "list"]
EXACT = ("training.precision=fp32",)


def write_codes(path, corpus, shared=False):
    """Write DDRO's file of product codes: `[key]<tab>id,id,...`, ids beyond the tokenizer."""
    rng = random.Random(0)
    codes = rng.sample(list(itertools.product(range(CODES), repeat=LEVELS)), 40)
    if shared:
        codes[1] = codes[0]
    lines = []
    for key, own in zip(keys_of(corpus), codes, strict=True):
        ids = [BASE_ROWS + level * CODES + code for level, code in enumerate(own)]
        lines.append(f"[{key.lower()}]\t{','.join(map(str, ids))}\n")
    path.write_text("".join(lines))
    return path


def write_titles(path, corpus):
    """Write titles as JSON lines."""
    records = [json.loads(line) for line in (corpus / "corpus.jsonl").read_text().splitlines()]
    lines = [json.dumps({"document": r["_id"], "identifier": r["title"]}) for r in records]
    path.write_text("\n".join(lines))
    return path


def keys_of(corpus):
    return [json.loads(line)["_id"] for line in (corpus / "corpus.jsonl").read_text().splitlines()]


@pytest.fixture(params=["GENRE", "DDRO", "DDRO, tied", "DDRO, named"])
def published(request, tiny_corpus, tmp_path):
    """A folder of transformers, and its file of identifiers."""
    if request.param == "GENRE":
        return genre(tmp_path / "hf"), write_titles(tmp_path / "titles.jsonl", tiny_corpus)
    variant = request.param.removeprefix("DDRO").strip(", ")
    net = ddro(tmp_path / "hf", **({variant: True} if variant else {}))
    return net, write_codes(tmp_path / "codes.tsv", tiny_corpus)


@pytest.fixture
def imported(published, tiny_corpus, tmp_path):
    """The saved and loaded retriever, and the network of transformers with its tokenizer."""
    net, identifiers = published
    import_model(ImportRequest(net, identifiers, tiny_corpus, tmp_path / "model", EXACT))
    own = AutoModelForSeq2SeqLM.from_pretrained(net).eval(), AutoTokenizer.from_pretrained(net)
    return Retriever.load(tmp_path / "model", "cpu"), *own


@torch.inference_mode()
def log_p(net, tokenizer, query, targets):
    """Return transformers' teacher-forced log p of token ids, over the whole vocabulary."""
    if tokenizer.mask_token is not None:  # a GENRE has no embedding for it
        query = query.replace(tokenizer.mask_token, tokenizer.unk_token)
    ids = tokenizer(query, return_tensors="pt")
    scores = []
    for target in targets:
        labels = torch.tensor([target])
        begin = torch.tensor([[net.config.decoder_start_token_id]])
        read = torch.cat([begin, labels[:, :-1]], dim=1)
        logits = net(**ids, decoder_input_ids=read).logits.log_softmax(dim=-1)
        scores.append(float(logits.gather(2, labels[:, :, None]).sum()))
    return scores


def test_scores_are_transformers_teacher_forced_log_probabilities(imported):
    retriever, net, tokenizer = imported
    table = retriever.table
    targets = [table.identifiers_of(number)[0] for number in range(len(table.keys))]
    for query in QUERIES:
        wanted = dict(zip(table.keys, log_p(net, tokenizer, query, targets), strict=True))
        hits = retriever.search(query, k=40, beams=len(table))[0]
        assert {hit.key: hit.score for hit in hits} == pytest.approx(wanted, abs=1e-4)
        ranked = sorted(wanted, key=lambda key: (-wanted[key], key))
        assert [hit.key for hit in hits] == ranked


def test_beam_search_finds_the_exhaustive_top(imported):
    retriever = imported[0]
    wide = retriever.search(QUERIES, k=5, beams=len(retriever.table))
    proven = retriever.search(QUERIES, k=5, exact=True)
    for all_rows, exact, beams in zip(wide, proven, retriever.search(QUERIES, k=5), strict=True):
        assert exact.proven
        assert [hit.key for hit in exact] == [hit.key for hit in all_rows]
        assert beams[0].score <= all_rows[0].score + 1e-5
        assert all(
            hit.score <= best.score + 1e-5 for hit, best in zip(beams, all_rows, strict=True)
        )


def test_beam_search_generates_as_transformers_does(imported):
    """The same beams under GENRE's and DDRO's prefix function: no length penalty, all finish."""
    retriever, net, tokenizer = imported
    start, tree = net.config.decoder_start_token_id, {}
    rows = [retriever.table.identifier(row) for row in range(len(retriever.table))]
    for row in rows:
        for place, token in enumerate(row):
            tree.setdefault((start, *row[:place]), set()).add(token)
    query = "how do i copy a file?"
    found = net.generate(
        **tokenizer(query, return_tensors="pt"),
        num_beams=len(rows),
        num_return_sequences=5,
        length_penalty=0.0,
        max_length=max(map(len, rows)) + 1,
        prefix_allowed_tokens_fn=lambda _, read: sorted(
            tree.get(tuple(read.tolist()), {tokenizer.pad_token_id})
        ),
    )
    hits = retriever.search(query, k=5, beams=len(rows))[0]
    own = [retriever.table.identifiers_of(retriever.table.number(hit.key))[0] for hit in hits]
    assert [
        tuple(row[1 : 1 + len(one)]) for row, one in zip(found.tolist(), own, strict=True)
    ] == own


def test_a_model_saved_again_keeps_its_own_output_matrix(imported, tmp_path):
    retriever, *_ = imported
    before = retriever.search(QUERIES, k=3)
    retriever.save(tmp_path / "again")
    again = Retriever.load(tmp_path / "again", "cpu").search(QUERIES, k=3)
    assert [[(h.key, h.score) for h in hits] for hits in again] == [
        [(h.key, h.score) for h in hits] for hits in before
    ]


def test_documents_may_share_codes_and_have_several(tiny_corpus, tmp_path):
    codes = write_codes(tmp_path / "codes.tsv", tiny_corpus, shared=True)
    first, second, *_ = keys_of(tiny_corpus)
    lines = codes.read_text().splitlines()
    codes.write_text("\n".join([*lines, lines[5].replace(lines[5].split("\t")[0], f"[{first}]")]))
    request = ImportRequest(ddro(tmp_path / "hf"), codes, tiny_corpus, tmp_path / "m", EXACT)
    retriever = import_model(request)
    assert len(retriever.table.identifiers_of(0)) == 2
    assert len(retriever.table) == 41
    hits = retriever.search("copy", k=40, beams=len(retriever.table))[0]
    scores = {hit.key: hit.score for hit in hits}
    assert len(scores) == 40
    assert scores[first] >= scores[second]


def test_padding_at_the_end_of_token_ids_is_dropped(tiny_corpus, tmp_path):
    codes = write_codes(tmp_path / "codes.tsv", tiny_corpus)
    codes.write_text(codes.read_text().replace("\n", ",0,0\n"))
    request = ImportRequest(ddro(tmp_path / "hf"), codes, tiny_corpus, tmp_path / "m")
    assert import_model(request).table.depth == LEVELS


def test_documents_with_a_prepared_identifier_are_added_later(tiny_corpus, tmp_path):
    titles = write_titles(tmp_path / "titles.jsonl", tiny_corpus)
    with titles.open("a") as file:
        file.write('\n{"document": "late", "identifier": "in time"}')
    request = ImportRequest(genre(tmp_path / "hf"), titles, tiny_corpus, tmp_path / "m")
    import_model(request)
    titles.unlink()
    retriever = Retriever.load(tmp_path / "m")
    with pytest.raises(InputError, match=r"document 'other' has no identifier in .*titles.jsonl"):
        retriever.add({"_id": "other", "text": "without an identifier"})
    retriever.add({"_id": "late", "text": "whatever"})
    retriever.delete("copy-file")
    found = {hit.key for hit in Retriever.load(tmp_path / "m").search("in", k=40, beams=60)[0]}
    assert "late" in found
    assert "copy-file" not in found


def test_an_imported_model_can_be_trained_further(tiny_corpus, tmp_path):
    titles = write_titles(tmp_path / "titles.jsonl", tiny_corpus)
    settings = ("training.label_smoothing=0.1", "training.max_steps=2", *EXACT)
    folder = tmp_path / "m"
    import_model(ImportRequest(genre(tmp_path / "hf"), titles, tiny_corpus, folder, settings))
    job = TrainingJob(str(folder / "recipe.toml"), tiny_corpus, tmp_path / "tuned")
    tuned = train(job)
    loss = json.loads(tuned.attachments["metrics.json"])["history"][-1]["loss"]
    assert 0 < loss < 50


def test_an_imported_model_is_served(tiny_corpus, tmp_path):
    codes = write_codes(tmp_path / "codes.tsv", tiny_corpus)
    import_model(ImportRequest(ddro(tmp_path / "hf"), codes, tiny_corpus, tmp_path / "m", EXACT))
    with TestClient(create_app(Retriever.load(tmp_path / "m"))) as client:
        answer = client.post("/v1/search", json={"query": "copy a file", "k": 3}).json()
    wanted = Retriever.load(tmp_path / "m", "cpu").search("copy a file", k=3)[0]
    assert [hit["key"] for hit in answer["hits"]] == [hit.key for hit in wanted]


def test_the_command_makes_a_model_that_evaluates(tiny_corpus, tmp_path):
    net = ddro(tmp_path / "hf")
    codes = write_codes(tmp_path / "codes.tsv", tiny_corpus)
    made = CliRunner().invoke(
        app,
        ["import", "--model", str(net), "--identifiers", str(codes), "--corpus", str(tiny_corpus),
         "--set", "decoding.beams=20", "--set", "training.source_length=32", str(tmp_path / "m")],
        catch_exceptions=False,
    )  # fmt: skip
    assert made.exit_code == 0
    assert f"genir search {tmp_path / 'm'}" in made.output
    queries, qrels = tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv"
    measured = evaluate(Retriever.load(tmp_path / "m"), queries, qrels, ["RR@10"])
    assert 0 < measured.measures["RR@10"] < 1
    retriever = Retriever.load(tmp_path / "m")
    assert retriever.recipe.decoding.beams == 20
    assert retriever.recipe.training.source_length == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "absent"}, "absent: no such folder; download the model"),
        ({"identifiers": "few.tsv"}, r"document '.*' has no identifier in .*few.tsv; add a line"),
        ({"identifiers": "beyond.tsv"}, "token 999999 is beyond the 432 rows of the output matrix"),
        ({"identifiers": "broken.tsv"}, r"broken.tsv:2: 'b' is not two columns; write key<tab>"),
        ({"identifiers": "broken.jsonl"}, r"broken.jsonl:1: \{'document': 3.*; write"),
        ({"identifiers": "negative.jsonl"}, r"negative.jsonl:1: .*; write"),
        ({"identifiers": "empty.tsv"}, "empty.tsv: no identifiers; write a line"),
        ({"identifiers": "prefix.jsonl"}, "is a prefix of"),
        ({"settings": ("model.source=scratch",)}, "leave model.source and identifiers.file out"),
        ({"settings": ("training.sauce=1",)}, "unknown key 'training.sauce'"),
        ({"out": "hf"}, "hf"),
    ],
)
def test_bad_input_is_named(change, message, tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, codes = ddro(tmp_path / "hf"), write_codes(tmp_path / "codes.tsv", tiny_corpus)
    lines = codes.read_text().splitlines(keepends=True)
    (tmp_path / "few.tsv").write_text("".join(lines[1:]))
    (tmp_path / "beyond.tsv").write_text("".join(lines) + "x\t5,999999\n")
    (tmp_path / "broken.tsv").write_text("a\tone\nb\n")
    (tmp_path / "broken.jsonl").write_text('{"document": 3, "identifier": "x"}')
    (tmp_path / "negative.jsonl").write_text('{"document": "a", "identifier": [-1]}')
    (tmp_path / "empty.tsv").write_text("")
    rows = [json.dumps({"document": key, "identifier": [9] * (2 + n)})
            for n, key in enumerate(keys_of(tiny_corpus))]  # fmt: skip
    (tmp_path / "prefix.jsonl").write_text("\n".join(rows))
    fields = {"model": net, "identifiers": codes, "corpus": tiny_corpus, "out": tmp_path / "m"}
    paths = {key: tmp_path / one if isinstance(one, str) else one for key, one in change.items()}
    with pytest.raises(InputError, match=message):
        import_model(ImportRequest(**(fields | paths)))
    assert not (tmp_path / "m").exists()
