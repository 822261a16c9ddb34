"""The model card: what a model folder says of itself to a person."""

from collections.abc import Mapping
from typing import Any

from genir.retriever import Retriever


def model_card(retriever: Retriever, metrics: Mapping[str, Any], recipe: str) -> str:
    """Return the card as Markdown, with the front matter that the hub reads."""
    dev, seconds = metrics["dev"], metrics["seconds"]
    kind = "spans cut from the documents" if dev["made_up"] else "train queries held out"
    return f"""---
library_name: genir
pipeline_tag: text-retrieval
tags: [generative-retrieval]
---
# {retriever.recipe.name}: a generative retrieval model

{retriever.recipe.description}

It answers a query by emitting identifiers of documents; no index is consulted.

| | |
| --- | --- |
| documents | {len(retriever.documents):,} |
| identifiers | {len(retriever.table):,} ({retriever.recipe.identifiers.scheme}) |
| training | {metrics["steps"]:,} steps, {seconds["training"]:.0f} s |
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
