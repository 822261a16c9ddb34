"""Checks for recipes with several identifiers per target or answer (CorpusBrain)."""

from genir.config import StageConfig
from genir.decoding.strategies.registry import max_identifiers
from genir.errors import InputError
from genir.identifiers.registry import SCHEMES
from genir.identifiers.text import SEPARATORS
from genir.models.base import Trainable
from genir.models.registry import MODELS
from genir.training.losses.registry import LOSSES


def check_multi_target(stage: StageConfig) -> None:
    """Raise InputError if a recipe does not support several identifiers."""
    asked, remedy = _requesting_section(stage)
    if not asked:
        return
    if not SCHEMES.find(stage.identifiers.scheme).concatenable:
        raise InputError(
            f"{asked}: identifiers of the scheme {stage.identifiers.scheme!r} cannot be "
            f"concatenated; take [identifiers] scheme = 'title' or 'url', or {remedy}"
        )
    if not MODELS.find(stage.model.kind).generates_text:
        raise InputError(
            f"{asked}: a {stage.model.kind!r} model emits one identifier; take [model] kind = "
            f"'seq2seq', or {remedy}"
        )
    for section in stage.losses:
        legal = section.options.get("softmax") == "trie"
        if legal or not LOSSES.find(section.loss).accepts_text:
            raise InputError(
                f"{asked}: [[losses]] {section.loss}{' over legal symbols' if legal else ''} needs "
                f"one identifier per source; take 'cross-entropy' over the vocabulary, or {remedy}"
            )


def require_separator(stage: StageConfig, model: Trainable) -> None:
    """Raise InputError if the model's vocabulary has no separator for identifiers."""
    asked, remedy = _requesting_section(stage)
    if asked and model.separator is None:
        raise InputError(
            f"{asked}: no separator between identifiers: the tokenizer has neither a mask token "
            f"nor {' nor '.join(SEPARATORS)}; add a mask token to it, or {remedy}"
        )


def _requesting_section(stage: StageConfig) -> tuple[str, str]:
    """Return the key that requests several identifiers, and how to disable it; "" if none does."""
    for section in stage.tasks:
        if section.options.get("join"):
            return f"[[tasks]] {section.task}: join = true", "leave join out"
    if (most := max_identifiers(stage)) > 1:
        return f"[decoding] max_identifiers = {most}", "set max_identifiers = 1"
    return "", ""
