"""The kinds of model by name. Other packages add to them by entry points `genir.models`."""

from collections.abc import Sequence
from pathlib import Path

from genir.config import ModelSection, StrictModel, validate
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel
from genir.models.encoder_head.model import EncoderHeadModel
from genir.plugins import Registry
from genir.types import Document

MODELS: Registry[DocidModel] = Registry(
    "genir.models",
    "[model] kind",
    DocidModel,
    (EncoderHeadModel,),
    attribute="kind",
    lazy={"seq2seq": "genir.models.seq2seq:Seq2SeqModel"},  # imports transformers
)


def build_model(section: ModelSection, corpus: Sequence[Document]) -> DocidModel:
    """Build the model of a recipe; `build_head` must follow."""
    return MODELS.find(section.kind).build(model_options(section), corpus)


def model_options(section: ModelSection) -> StrictModel:
    """Return the options of a kind of model. Raises InputError for an unknown kind or option."""
    return validate(MODELS.find(section.kind).Options, section.options, "[model]")


def try_model(section: ModelSection, source_length: int) -> None:
    """Raise InputError if the pre-trained network of a recipe cannot be used."""
    MODELS.find(section.kind).check_pretrained(model_options(section), source_length)


def load_model(folder: Path, kind: str, scheme: Scheme, table: IdentifierTable) -> DocidModel:
    """Load a model from its folder."""
    return MODELS.find(kind).load(folder, scheme, table)
