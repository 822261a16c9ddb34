"""Checks of sentence-transformers settings: genir supports mean pooling of the last states only.

Any other setting that changes the vectors is rejected.
"""

from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from genir.corpus.json_lines import shorten
from genir.models.checkpoint_checks import read_json, read_modules, unsupported_error

LIBRARY = "sentence_transformers."
"""Module prefix of layers that need no code from the model."""
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
PIPELINES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
"""Supported layer sequences. Dropout has no effect in inference."""
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""File names of the settings of a Transformer layer in sentence-transformers."""
PLAIN_TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
PLAIN: dict[str, tuple[object, ...]] = {
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "processing_kwargs": ({},),
    "query_expansion": ({},),
}
"""Settings of a Transformer layer that may change its states, with their neutral values."""
LOADING = ("model_args", "model_kwargs", "config_args", "config_kwargs", "tokenizer_args",
           "processor_kwargs")  # fmt: skip
"""Settings of a Transformer layer that are passed on to transformers."""
SAME_STATES = frozenset(
    {"trust_remote_code", "attn_implementation", "torch_dtype", "dtype", "use_safetensors",
     "add_pooling_layer", "model_max_length", "use_fast"}
)  # fmt: skip
"""Keys of these settings that change states only by rounding."""
LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Keys of `1_Pooling/config.json` before sentence-transformers 5.2, which has `pooling_mode`."""
REMEDY = "give an encoder with plain mean pooling, such as 'minilm' or all-mpnet-base-v2"


def require_mean_pooling(name: str, tokenizer: Any) -> None:
    """Reject an encoder that was not trained with mean pooling of its last hidden states.

    Args:
        name: Local folder or hub name. Without `modules.json` it is a plain transformers encoder,
            which does not state its pooling.
        tokenizer: Its tokenizer.

    Raises:
        InputError: Other pooling or layers, prompts, lower-cased texts with a cased tokenizer,
            truncated vectors, or dot-product similarity without normalisation.
    """
    root = _root(name)
    modules = read_modules(root)
    settings = read_json(root, "config_sentence_transformers.json", dict) or {}
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise unsupported_error(
            name, f"it is a {kind} of sentence-transformers, not a dense encoder", REMEDY
        )
    _refuse_prompts(name, settings)
    if settings.get("truncate_dim") is not None:
        cut = shorten(settings["truncate_dim"])
        raise unsupported_error(
            name, f"its vectors are truncated (truncate_dim = {cut}), unlike genir's", REMEDY
        )
    if modules is None:
        return
    kinds = _kinds(name, modules)
    _refuse_transformer(name, root, modules[kinds.index("Transformer")], tokenizer)
    _refuse_pooling(name, root, modules[kinds.index("Pooling")])
    similarity = settings.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "euclidean") and "Normalize" not in kinds:
        raise unsupported_error(
            name, f"it compares unnormalised vectors by {similarity!r}, but genir uses cosine",
            REMEDY,
        )  # fmt: skip


def _root(name: str) -> str:
    """Return the parent folder if `name` is the transformer's folder below a `modules.json`."""
    above = Path(name).resolve().parent
    if not Path(name).is_dir() or (Path(name) / "modules.json").is_file():
        return name
    paths = [module.get("path") for module in read_modules(str(above)) or []]
    return str(above) if Path(name).resolve().name in paths else name


def _kinds(name: str, modules: list[dict[str, Any]]) -> list[str]:
    """Return the layer types of a supported sequence, in order."""
    kinds = []
    for module in modules:
        kind = str(module.get("type", ""))
        kinds.append(kind.rpartition(".")[2])
        if kinds[-1] not in KNOWN_MODULES:
            raise unsupported_error(
                name,
                f"its modules.json adds a {kinds[-1]} layer, which genir does not support",
                REMEDY,
            )
        if not kind.startswith(LIBRARY):
            raise unsupported_error(
                name, f"its modules.json names {kind}, custom code, which genir does not run",
                REMEDY,
            )  # fmt: skip
    if [kind for kind in kinds if kind != "Dropout"] not in PIPELINES:
        found = ", ".join(kinds) or "none"
        raise unsupported_error(
            name, f"its modules.json has the layers {found}, not one Transformer, then one Pooling",
            REMEDY,
        )  # fmt: skip
    return kinds


def _refuse_transformer(name: str, root: str, module: dict[str, Any], tokenizer: Any) -> None:
    """Reject settings that change the token states of sentence-transformers."""
    folder = module.get("path") or ""
    for file in (f"{folder}/{file}".lstrip("/") for file in TRANSFORMER_FILES):
        config = read_json(root, file, dict)
        if not config:
            continue
        if change := next(_changes(config), None):
            key, value = change
            raise unsupported_error(
                name, f"{file} sets {key} = {shorten(value)}, which genir does not support", REMEDY
            )
        if config.get("do_lower_case") and not _lowers(tokenizer):
            raise unsupported_error(
                name, f"{file} sets do_lower_case, but its tokenizer is cased",
                'set "do_lower_case": false there if it was trained on cased text; else give an '
                "encoder whose tokenizer lower-cases texts",
            )  # fmt: skip
        return


def _changes(config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the settings of a Transformer layer that change its states, with their values."""
    for key, plain in PLAIN.items():
        if (value := config.get(key)) is not None and value not in plain:
            yield key, value
    modes = config.get("modality_config")
    text = modes.get("text") if isinstance(modes, dict) else modes
    if modes is not None and text != PLAIN_TEXT:
        yield "modality_config", modes
    for key in LOADING:
        value = config.get(key)
        if value and not (isinstance(value, dict) and value.keys() <= SAME_STATES):
            yield key, value


def _lowers(tokenizer: Any) -> bool:
    """Return whether a tokenizer lower-cases its input."""
    capitals = " ".join(ascii_uppercase)
    same: bool = tokenizer(capitals)["input_ids"] == tokenizer(capitals.lower())["input_ids"]
    return same


def _refuse_pooling(name: str, root: str, module: dict[str, Any]) -> None:
    file = f"{module.get('path', '1_Pooling')}/config.json"
    config = read_json(root, file, dict)
    if config is None:
        raise unsupported_error(name, f"it has no {file}, which defines the pooling", REMEDY)
    modes = pooling_modes(config)
    if modes != ["mean"]:
        raise unsupported_error(
            name, f"{file} sets pooling by {' and '.join(modes)}, but genir supports the mean only",
            REMEDY,
        )  # fmt: skip


def pooling_modes(config: dict[str, Any]) -> list[str]:
    """Return the pooling modes in a pooling layer's configuration, in either format."""
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [mode for key, mode in LEGACY_MODES.items() if config.get(key)] or "mean"
    return list(map(str, mode)) if isinstance(mode, list) else [str(mode)]


def _refuse_prompts(name: str, settings: dict[str, Any]) -> None:
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise unsupported_error(
            name,
            f"its config_sentence_transformers.json has prompts = {shorten(prompts)}, not a "
            "JSON object of texts",
            "give prompts by name, or remove the key",
        )
    for key, text in prompts.items():
        if text:
            raise unsupported_error(
                name, f"it was trained with prompts ({key}: {shorten(text)}), which genir does not "
                "add", REMEDY,
            )  # fmt: skip
