"""Checks for recipes whose documents have several units (`[identifiers] units`)."""

from genir.config import StageConfig
from genir.errors import InputError
from genir.identifiers.registry import scheme_options
from genir.identifiers.units import UnitOptions, unit_options
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.registry import MODELS

LOSS = "cross-entropy"


def check_units(stage: StageConfig) -> None:
    """Raise InputError for a model or loss that takes each document for one identifier.

    Also for keys that have no effect without units.
    """
    units = unit_options(scheme_options(stage.identifiers))["units"]
    given = stage.identifiers.options.keys() & (UnitOptions.model_fields.keys() - {"units"})
    if units == "none" and given:
        raise InputError(
            f"[identifiers] {min(given)}: has no effect with units = 'none'; set units to "
            "'windows' or 'sections', or remove it"
        )
    if units == "none":
        return
    key = f"[identifiers] units = {units!r}"
    if not issubclass(MODELS.find(stage.model.kind), EncoderHeadModel):
        raise InputError(
            f"{key}: needs [model] kind = {EncoderHeadModel.kind!r}, not {stage.model.kind!r}"
        )
    if stage.model.options.get("term_set_size"):
        raise InputError(f"{key}: term sets belong to whole documents; set term_set_size to 0")
    for section in stage.losses:
        if section.loss != LOSS:
            raise InputError(
                f"{key}: [[losses]] {section.loss!r} takes a document for one identifier; use "
                f"{LOSS!r}, or set units to 'none'"
            )
