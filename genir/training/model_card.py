"""Model card of a model folder, in Markdown."""

from collections.abc import Mapping
from typing import Any

from genir.console import escape_markdown
from genir.identifiers.units import units_text
from genir.plurals import counted
from genir.retriever import Retriever


def model_card(retriever: Retriever, metrics: Mapping[str, Any], recipe: str) -> str:
    """Return the model card with the front matter of the Hugging Face hub."""
    seconds = metrics["seconds"]
    return f"""---
library_name: genir
pipeline_tag: text-retrieval
tags: [generative-retrieval]
---
# {escape_markdown(retriever.recipe.name)}: a generative retrieval model

{escape_markdown(retriever.recipe.description)}

{_what_it_does(retriever)}

| | |
| --- | --- |
| documents | {retriever.index.live_count:,} |
| identifiers | {len(retriever.table):,} ({retriever.recipe.identifiers.scheme}) |
| units | {units_text(retriever.decoder.stage.scheme.options)} |
| training | {counted(metrics["steps"], "step")}, {seconds["training"]:.0f} s |
| precision | {_precision(metrics["precision"])} |
| before and after it | {seconds["preparing"]:.0f} s and {seconds["finishing"]:.0f} s |
| dev RR@10 / Success@10 | {_dev(metrics["dev"])} |

![training curve](training.png)

## Use
```python
from genir.retriever import Retriever

retriever = Retriever.load("this folder")
for hit in retriever.search(["your question"], k=10)[0]:
    print(hit.rank, hit.key, hit.score)
```

## Recipe
```toml
{recipe.rstrip()}
```
"""


def _dev(dev: Mapping[str, Any]) -> str:
    if not dev["questions"]:
        return "not measured"
    kind = "spans cut from the documents" if dev["made_up"] else "train queries held out"
    scores = f"{dev['RR@10']:.3f} / {dev['Success@10']:.3f}"
    return f"{scores} on {dev['questions']} questions ({kind})"


def _precision(taken: Mapping[str, str]) -> str:
    works = ", ".join(f"{work} {bits}" for work, bits in taken.items() if work != "device")
    return f"{works} ({taken['device']})"


def _what_it_does(retriever: Retriever) -> str:
    if retriever.recipe.decoding.is_text:
        return "It writes queries for documents (genir generate-queries --model), and finds none."
    if retriever.recipe.passage_stage is None:
        return "It answers a query by emitting identifiers of documents; no index is consulted."
    return (
        "It answers a query in two stages: a first model writes passages, a second one reads them "
        "and emits identifiers of documents; no index is consulted."
    )
