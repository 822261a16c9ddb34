"""Settings of a sentence-transformers model and of its Transformer layers."""

import logging
from collections.abc import Iterator
from typing import Any

from genir.arguments import is_unicode
from genir.corpus.json_lines import shorten
from genir.models.checkpoint_checks import read_json, unsupported_error
from genir.models.encoder_design import MAX_SIZE, ROLES, EncoderDesign, is_normalize

log = logging.getLogger("genir.models")

SETTINGS_FILE = "config_sentence_transformers.json"
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names of the prompt of documents, in the order of sentence-transformers."""

TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""File names of the settings of a Transformer layer in sentence-transformers."""
PLAIN_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
PLAIN: dict[str, tuple[object, ...]] = {
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "modality_config": (PLAIN_TEXT,),
    "processing_kwargs": ({},),
    "query_expansion": ({},),
    "query_length": (),
    "document_length": (),
}
"""Settings of a Transformer layer that may change its states, with their neutral values."""
LOADING = ("model_args", "model_kwargs", "config_args", "config_kwargs", "tokenizer_args",
           "processor_kwargs")  # fmt: skip
"""Settings of a Transformer layer that are passed on to transformers."""
SAME_STATES = frozenset(
    {"trust_remote_code", "attn_implementation", "torch_dtype", "dtype", "use_safetensors",
     "add_pooling_layer", "model_max_length", "use_fast", "padding_side", "use_cache"}
)  # fmt: skip
"""Keys of these settings that change states only by rounding, or are read elsewhere."""


def read_settings(name: str, root: str) -> dict[str, Any]:
    """Return the content of the settings file of a model in `root`, or nothing without one.

    Raises:
        InputError: It is not a dense encoder, or the file is damaged.
    """
    settings = read_json(root, SETTINGS_FILE, dict) or {}
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise unsupported_error(
            name, f"it is a {kind} of sentence-transformers, not a dense encoder",
            "give a dense encoder",
        )  # fmt: skip
    return settings


def design_settings(name: str, settings: dict[str, Any], design: EncoderDesign) -> dict[str, Any]:
    """Return prompts and truncation. Raises InputError for another similarity than the cosine."""
    cut = settings.get("truncate_dim")
    if cut is not None and not (type(cut) is int and cut > 0):
        raise unsupported_error(
            name, f"its {SETTINGS_FILE} has truncate_dim = {shorten(cut)}, not a number of "
            "dimensions", "correct it",
        )  # fmt: skip
    similarity = settings.get("similarity_fn_name") or "cosine"
    unit = cut is None and all(any(map(is_normalize, design.layers(role)[-1:])) for role in ROLES)
    if similarity != "cosine" and not (unit and similarity in ("dot", "euclidean")):
        raise unsupported_error(
            name, f"it compares vectors that are not normalised by {similarity!r}, but genir uses "
            "the cosine", "give an encoder that was trained with the cosine",
        )  # fmt: skip
    query, document = _prompts(name, settings)
    return {"query_prompt": query, "document_prompt": document, "truncate_dim": cut}


def _prompts(name: str, settings: dict[str, Any]) -> tuple[str, str]:
    """Return the prompts of queries and documents.

    As in sentence-transformers' `encode_query` and `encode_document`, except that an empty prompt
    named "document", which the library adds, does not hide one named "passage". Without any of
    these, both are the default prompt, as in `encode`.
    """
    prompts = settings.get("prompts") or {}
    known = isinstance(prompts, dict)
    if not known or not all(isinstance(text, str | None) for text in prompts.values()):
        raise unsupported_error(
            name, f"its {SETTINGS_FILE} has prompts = {shorten(prompts)}, not a JSON object of "
            "texts", "give prompts by name, or remove the key",
        )  # fmt: skip
    if not all(is_unicode(text) for text in prompts.values() if text):
        raise unsupported_error(
            name, f"its {SETTINGS_FILE} has a prompt with an unpaired surrogate", "correct it"
        )
    query = prompts.get("query") or ""
    document = next(filter(None, map(prompts.get, DOCUMENT_PROMPTS)), "")
    if query or document:
        return query, document
    default = prompts.get(str(settings.get("default_prompt_name"))) or ""
    if not default and (others := [key for key, text in prompts.items() if text]):
        log.warning(
            "%s: its prompts are named %s, none of them 'query' or 'document', and are not used; "
            "to use one, set its text as [model] query_prompt or document_prompt",
            name, ", ".join(map(shorten, others)),
        )  # fmt: skip
    return default, default


def transformer_settings(name: str, root: str, path: str) -> tuple[int | None, bool]:
    """Return maximum length and lower-casing of the Transformer layer in the subfolder `path`.

    Raises:
        InputError: A setting that would change its states.
    """
    tokenizer = read_json(root, join_path(path, "tokenizer_config.json"), dict) or {}
    length = _tokens(tokenizer.get("model_max_length"))
    files = (join_path(path, file) for file in TRANSFORMER_FILES)
    file, config = next(((one, found) for one in files if (found := read_json(root, one, dict))),
                        ("", {}))  # fmt: skip
    for key, value in _changes(config):
        raise unsupported_error(
            name, f"{file} sets {key} = {shorten(value)}, which genir does not support",
            "give an encoder of plain texts",
        )  # fmt: skip
    own = config.get("max_seq_length")
    if own is not None and _tokens(own) is None:
        raise unsupported_error(
            name, f"{file} sets max_seq_length = {shorten(own)}, not a number of tokens",
            "correct it",
        )  # fmt: skip
    return own or length, bool(config.get("do_lower_case"))


def _tokens(length: object) -> int | None:
    """Return a maximum number of tokens; None for none, or for the 10**30 of transformers."""
    return length if type(length) is int and 0 < length <= MAX_SIZE else None


def join_path(path: str, file: str) -> str:
    """Return the path of a file in a subfolder, "" for none."""
    return f"{path}/{file}" if path else file


def _changes(config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the settings of a Transformer layer that change its states, with their values."""
    for key, plain in PLAIN.items():
        if (value := config.get(key)) is not None and value not in plain:
            yield key, value
    for key in LOADING:
        value = config.get(key)
        if value and not (isinstance(value, dict) and value.keys() <= SAME_STATES):
            yield key, value
