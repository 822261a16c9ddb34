"""Structure of a page as a record: navigation, sections and code blocks."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genir.corpus.json_lines import shorten
from genir.corpus.metadata_values import check_text
from genir.errors import InputError
from genir.types import NO_STRUCTURE, Section, Structure

SHAPE = (
    "write {navigation: [title], sections: [{start, level, title, anchor}], code: [[start, end]]} "
    "in the order of the text"
)


class _SectionRecord(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    start: int = Field(ge=0)
    level: int = Field(ge=1)
    title: str
    anchor: str = ""


class _StructureRecord(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    navigation: list[str] = []
    sections: list[_SectionRecord] = []
    code: list[list[int]] = []


def structure_of(value: Any, text: str, where: str) -> Structure:
    """Return the structure of a text from its record; the inverse of `structure_record`.

    Raises:
        InputError: The record has another shape, or a section or code block is no part of the text.
    """
    if isinstance(value, Mapping) and not value:
        return NO_STRUCTURE
    try:
        record = _StructureRecord.model_validate(dict(value) if isinstance(value, Mapping) else 0)
        sections = tuple(Section(**one.model_dump()) for one in record.sections)
        _check_places([one.start for one in sections], len(text))
        for block in record.code:
            if len(block) != 2 or block[0] >= block[1]:
                raise ValueError(f"{block} is no code block")
        _check_places([place for block in record.code for place in block], len(text) + 1)
        for title in (*record.navigation, *(t for s in sections for t in (s.title, s.anchor))):
            check_text(title)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "it"
        raise InputError(
            f"{where}: structure: {name}: {shorten(first['input'])}; {SHAPE}"
        ) from None
    except ValueError as error:
        raise InputError(f"{where}: structure: {error}; {SHAPE}") from None
    code = tuple((start, end) for start, end in record.code)
    return Structure(tuple(record.navigation), sections, code)


def _check_places(places: list[int], limit: int) -> None:
    for before, place in zip([0, *places], places, strict=False):
        if not before <= place < limit:
            raise ValueError(f"the character {place} is not in the text behind {before}")


def structure_record(structure: Structure) -> dict[str, Any]:
    """Return the record of a structure, without its empty fields."""
    sections = [
        {"start": one.start, "level": one.level, "title": one.title, "anchor": one.anchor}
        for one in structure.sections
    ]
    fields = {
        "navigation": list(structure.navigation),
        "sections": sections,
        "code": [list(block) for block in structure.code],
    }
    return {name: value for name, value in fields.items() if value}
