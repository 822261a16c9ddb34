"""The identifier schemes by name. Other packages add to them by entry points `genir.schemes`."""

from pathlib import Path

from genir.config import IdentifierSection, StrictModel, validate
from genir.errors import InputError
from genir.identifiers.atomic import Atomic
from genir.identifiers.base import Scheme, Tokenizer
from genir.identifiers.given import Given
from genir.identifiers.hierarchical import Hierarchical
from genir.identifiers.ngram import Ngram
from genir.identifiers.passage import Passage
from genir.identifiers.product import Product
from genir.identifiers.residual import Residual
from genir.identifiers.serialization import read_scheme
from genir.identifiers.string import String
from genir.identifiers.title import Title
from genir.identifiers.units import UnitOptions
from genir.identifiers.url import Url
from genir.identifiers.views import Views
from genir.plugins import Registry

SCHEMES: Registry[Scheme] = Registry(
    "genir.schemes",
    "[identifiers] scheme",
    Scheme,
    (Atomic, Given, Hierarchical, Ngram, Passage, Product, Residual, String, Title, Url, Views),
)


def build_scheme(section: IdentifierSection, tokenizer: Tokenizer | None = None) -> Scheme:
    """Create the unfitted scheme of a recipe.

    Raises:
        InputError: Unknown name or option, option out of range, or missing tokenizer.
    """
    return SCHEMES.find(section.scheme)(scheme_options(section), tokenizer)


def scheme_options(section: IdentifierSection) -> StrictModel:
    """Return the options of a scheme. Raises InputError for an unknown scheme or option."""
    kind = SCHEMES.find(section.scheme)
    unit_keys = section.options.keys() & (
        UnitOptions.model_fields.keys() - kind.Options.model_fields
    )
    if unit_keys:
        raise InputError(
            f"[identifiers] {min(unit_keys)}: the scheme {section.scheme!r} has one text for each "
            "document; remove it, or set scheme to 'atomic'"
        )
    return validate(kind.Options, section.options, f"[identifiers] {section.scheme}")


def load_scheme(folder: Path, tokenizer: Tokenizer | None = None) -> Scheme:
    """Load a fitted scheme. Raises InputError if a file is missing, damaged or does not match."""
    return saved_kind(folder).load(folder, tokenizer)


def saved_kind(folder: Path) -> type[Scheme]:
    """Return the class of a saved scheme. Raises InputError if it cannot be read."""
    return SCHEMES.find(read_scheme(folder).scheme)
