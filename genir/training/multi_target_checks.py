"""Checks for recipes with several identifiers per target or answer (CorpusBrain)."""

from genir.config import StageConfig
from genir.errors import InputError
from genir.identifiers.registry import find_scheme
from genir.identifiers.text import SEPARATORS
from genir.models.base import DocidModel
from genir.models.registry import model_class
from genir.training.losses.registry import find_loss


def check_multi_target(stage: StageConfig) -> None:
    """Raise InputError if a recipe does not support several identifiers."""
    asked, mend = _requesting_section(stage)
    if not asked:
        return
    if not find_scheme(stage.identifiers.scheme).concatenable:
        raise InputError(
            f"{asked}: identifiers of the scheme {stage.identifiers.scheme!r} cannot be "
            f"concatenated; take [identifiers] scheme = 'title' or 'url', or {mend}"
        )
    if not model_class(stage.model.kind).generates_text:
        raise InputError(
            f"{asked}: a {stage.model.kind!r} model emits one identifier; take [model] kind = "
            f"'seq2seq', or {mend}"
        )
    for section in stage.losses:
        legal = section.options.get("softmax") == "trie"
        if legal or not find_loss(section.loss).accepts_text:
            raise InputError(
                f"{asked}: [[losses]] {section.loss}{' over legal symbols' if legal else ''} needs "
                f"one identifier per source; take 'cross-entropy' over the vocabulary, or {mend}"
            )


def require_separator(stage: StageConfig, model: DocidModel) -> None:
    """Raise InputError if the model's vocabulary has no separator for identifiers."""
    asked, mend = _requesting_section(stage)
    if asked and model.separator is None:
        raise InputError(
            f"{asked}: no separator between identifiers: the tokenizer has neither a mask token "
            f"nor {' nor '.join(SEPARATORS)}; add a mask token to it, or {mend}"
        )


def _requesting_section(stage: StageConfig) -> tuple[str, str]:
    """Return the key that requests several identifiers, and how to disable it; "" if none does."""
    for section in stage.tasks:
        if section.options.get("join"):
            return f"[[tasks]] {section.task}: join = true", "leave join out"
    if stage.decoding.max_identifiers > 1:
        return (
            f"[decoding] max_identifiers = {stage.decoding.max_identifiers}",
            "set max_identifiers = 1",
        )
    return "", ""
