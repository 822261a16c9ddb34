"""Settings of a model that are not learned but chosen by its quality on dev queries."""

from genir.corpus.query_digests import normalise_query
from genir.retriever import Retriever
from genir.training.dev_eval import evaluate_dev
from genir.training.dev_split import DevSplit

MIN_QUERIES = 50
"""Minimum number of dev queries; with fewer the model's defaults stay."""


def choose_settings(retriever: Retriever, split: DevSplit) -> None:
    """Let the model choose settings by RR@10 on dev queries, if there are enough.

    Queries that are a part of an answering document are left out: words would be overrated, since
    real queries are not in the corpus.
    """
    if split.is_synthetic:
        return
    keys = sorted({key for answers in split.questions.values() for key in answers})
    documents = retriever.documents.fetch(keys)
    texts = {key: normalise_query(f"{d.title} {d.text}") for key, d in documents.items()}
    questions = {
        question: answers
        for question, answers in split.questions.items()
        if not any(normalise_query(question) in texts[key] for key in answers if key in texts)
    }
    if len(questions) >= MIN_QUERIES:
        retriever.model.choose_settings(lambda: evaluate_dev(retriever, questions)["RR@10"] or 0.0)
