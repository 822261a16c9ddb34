"""Measure single-query latency of a model, a transformers encoder pass, and baselines."""

from genir.signals import guard

guard(__name__)  # before the slow imports

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from genir.cli import guarded
from genir.cli.options import JsonFile, Model, PrecisionOption
from genir.console import print_line
from genir.corpus.readers import read_queries
from genir.evaluation.latency import few_queries_warning, latencies
from genir.evaluation.runner import GENIR, baseline_names, build_baselines, live_documents
from genir.models.base import DocidModel
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.precision import override
from genir.models.saved_tokenizer import transformers_tokenizer
from genir.models.seq2seq import Seq2SeqModel
from genir.outputs import check_distinct, write_text
from genir.retriever import Retriever
from genir.types import Filter, Hit, Searcher

ENCODER = "encoder"
TITLE_WORDS = 8
"""Number of words that replace a missing title."""


class EncoderPass:
    """A searcher that tokenizes and encodes queries in fp32, and returns no hits.

    The lower bound of a neural search's latency. It runs a copy of the model's encoder in
    transformers, without genir's converted weights. length: maximum number of tokens of a query.
    """

    def __init__(self, model: DocidModel, length: int) -> None:
        self._net = copy.deepcopy(_encoder_of(model)).eval().float()
        self._tokenizer = transformers_tokenizer(model.tokenizer)
        self._length = length
        self._device = model.device

    @torch.inference_mode()
    def search(
        self, queries: list[str], k: int, where: Filter | None = None
    ) -> Sequence[list[Hit]]:
        """Encode the queries; return no hits."""
        inputs = self._tokenizer(
            queries, padding=True, truncation=True, max_length=self._length, return_tensors="pt"
        ).to(self._device)
        self._net(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return [[] for _ in queries]


def _encoder_of(model: DocidModel) -> Any:
    if isinstance(model, EncoderHeadModel):
        return model.encoder.backbone
    if isinstance(model, Seq2SeqModel):
        return model.backbone.net.get_encoder()
    raise TypeError(f"a {model.kind!r} model has no transformers encoder")


def main(
    model: Model,
    queries: Annotated[
        Path | None, typer.Option(help="queries.jsonl or .tsv; default: titles of documents")
    ] = None,
    count: Annotated[int, typer.Option(help="number of queries", min=1)] = 200,
    baselines: Annotated[str, typer.Option(help="baselines to compare with")] = "dense,bm25",
    json_file: JsonFile = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Measure single-query latency of the model, a transformers encoder pass, and baselines."""
    override(precision)
    check_distinct({"--json": json_file}, {"MODEL": model, "--queries": queries})
    retriever = Retriever.load(model)
    texts = _query_texts(retriever, queries, count)
    systems: dict[str, Searcher] = {
        GENIR: retriever,
        ENCODER: EncoderPass(retriever.model, retriever.recipe.training.source_length),
    }
    systems |= build_baselines(retriever, baseline_names(baselines))
    times = latencies(systems, texts)
    own = times[GENIR]
    ratio, spread = own.p50 / times[ENCODER].p50, own.p95 / own.p50
    for name, latency in times.items():
        print_line(f"{name:>7}  p50 {latency.p50:.1f} ms  p95 {latency.p95:.1f} ms")
    print_line(
        f"{GENIR}: p50 is {ratio:.2f} times that of transformers' encoder pass in fp32, "
        f"p95 {spread:.2f} times its own p50, of {len(texts):,} queries"
    )
    if note := few_queries_warning(len(texts)):
        print_line(f"warning: {note}", stderr=True)
    if json_file is not None:
        figures = {
            "latency_ms": {name: asdict(latency) for name, latency in times.items()},
            "p50_to_encoder": ratio,
            "p95_to_p50": spread,
            "queries": len(texts),
        }
        write_text(json_file, json.dumps(figures, indent=2) + "\n")


def _query_texts(retriever: Retriever, queries: Path | None, count: int) -> list[str]:
    """Return queries from the file, or titles of evenly spaced documents."""
    if queries is not None:
        return [query.text for query in read_queries(queries).values()][:count]
    documents = live_documents(retriever)
    numbers = range(0, len(documents), max(1, len(documents) // count))
    drawn = [documents[number] for number in numbers[:count]]
    return [one.title or " ".join(one.text.split()[:TITLE_WORDS]) for one in drawn]


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
