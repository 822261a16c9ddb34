"""Facts about the recipes that come with genir, from `recipe_facts.toml`: use, needs, costs."""

from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

from genir.toml_parser import parse_toml

GROUPS = {
    "start": "Start here",
    "small": "Few bytes a document",
    "accurate": "Further training from queries or teachers",
    "text": "Identifiers that can be read: titles and URLs",
    "paper": "Other methods of papers",
    "stage": "Stages of other recipes",
}
"""Uses by name, in the order of `genir recipes`, with their titles."""


class RecipeFacts(BaseModel):
    """Facts about a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    use: str = Field(pattern=f"^({'|'.join(GROUPS)})$", description="key of GROUPS")
    needs_train_queries: bool = Field(description="refuses a corpus without train queries")
    minutes: float | None = Field(
        default=None, description="training on two cores for 10,000 documents; None: not measured"
    )
    bytes_per_document: int | None = Field(
        default=None, description="identifier and parameters of a document; None: not measured"
    )


def read_facts() -> dict[str, RecipeFacts]:
    """Return the facts by recipe."""
    text = (resources.files("genir") / "recipe_facts.toml").read_text(encoding="utf-8")
    return {name: RecipeFacts.model_validate(own) for name, own in parse_toml(text).items()}
