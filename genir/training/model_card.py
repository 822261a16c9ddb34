"""Model card of a model folder, in Markdown."""

from collections.abc import Mapping
from typing import Any

from genir.console import escape_markdown
from genir.retriever import Retriever


def model_card(retriever: Retriever, metrics: Mapping[str, Any], recipe: str) -> str:
    """Return the model card with the front matter of the Hugging Face hub."""
    dev, seconds = metrics["dev"], metrics["seconds"]
    kind = "spans cut from the documents" if dev["made_up"] else "train queries held out"
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
| documents | {len(retriever.documents):,} |
| identifiers | {len(retriever.table):,} ({retriever.recipe.identifiers.scheme}) |
| training | {metrics["steps"]:,} steps, {seconds["training"]:.0f} s |
| precision | {_precision(metrics["precision"])} |
| before and after it | {seconds["preparing"]:.0f} s and {seconds["finishing"]:.0f} s |
| dev RR@10 / Success@10 | {dev["RR@10"]:.3f} / {dev["Success@10"]:.3f} on {dev["questions"]} \
questions ({kind}) |

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


def _precision(taken: Mapping[str, str]) -> str:
    works = ", ".join(f"{work} {bits}" for work, bits in taken.items() if work != "device")
    return f"{works} ({taken['device']})"


def _what_it_does(retriever: Retriever) -> str:
    if retriever.recipe.decoding.mode == "text":
        return "It writes queries for documents (genir generate-queries --model), and finds none."
    if retriever.passage_stage is None:
        return "It answers a query by emitting identifiers of documents; no index is consulted."
    return (
        "It answers a query in two stages: a first model writes passages, a second one reads them "
        "and emits identifiers of documents; no index is consulted."
    )
