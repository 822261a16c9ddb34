"""What a recipe must be like whose targets or answers hold several identifiers (CorpusBrain)."""

from genir.config import Stage
from genir.errors import InputError
from genir.identifiers.registry import find_scheme
from genir.identifiers.text import SEPARATORS
from genir.models.base import DocidModel
from genir.models.registry import model_class
from genir.training.losses.registry import find_loss


def check_joining(stage: Stage) -> None:
    """Raise InputError where targets or answers of several identifiers make no sense."""
    asked, mend = _asked(stage)
    if not asked:
        return
    if not find_scheme(stage.identifiers.scheme).joins:
        raise InputError(
            f"{asked}: identifiers of the scheme {stage.identifiers.scheme!r} are not written one "
            f"after the other; take [identifiers] scheme = 'title' or 'url', or {mend}"
        )
    if not model_class(stage.model.kind).writes_text:
        raise InputError(
            f"{asked}: a {stage.model.kind!r} model emits one identifier; take [model] kind = "
            f"'seq2seq', or {mend}"
        )
    for section in stage.losses:
        legal = section.options.get("normalise") == "legal"
        if legal or not find_loss(section.loss).takes_text:
            raise InputError(
                f"{asked}: [[losses]] {section.loss}{' over legal symbols' if legal else ''} knows "
                f"one identifier a source; take 'cross-entropy' over the vocabulary, or {mend}"
            )


def require_separator(stage: Stage, model: DocidModel) -> None:
    """Raise InputError where the model's vocabulary has no symbol to put between identifiers."""
    asked, mend = _asked(stage)
    if asked and model.separator is None:
        raise InputError(
            f"{asked}: the model has nothing to put between identifiers: its tokenizer has neither "
            f"a mask token nor {' nor '.join(SEPARATORS)}; add a mask token to it, or {mend}"
        )


def _asked(stage: Stage) -> tuple[str, str]:
    """Return the key that asks for several identifiers, and how to do without; "" if none does."""
    for section in stage.tasks:
        if section.options.get("join"):
            return f"[[tasks]] {section.task}: join = true", "leave join out"
    if stage.decoding.several > 1:
        return f"[decoding] several = {stage.decoding.several}", "set several = 1"
    return "", ""
