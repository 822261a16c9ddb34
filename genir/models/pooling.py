"""How a sentence-transformers folder pools: genir takes plain means of the last states alone."""

from pathlib import Path
from typing import Any

from genir.models.foreign import read_json, read_modules, refusal

KNOWN_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
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


def require_mean_pooling(name: str) -> None:
    """Refuse an encoder that was trained with anything but the mean of its last hidden states.

    Args:
        name: a local folder, or a name of the hub. Without `modules.json` it is a plain encoder of
            transformers, which says nothing of pooling.

    Raises:
        InputError: for another pooling, further layers, prompts, or similarity by dot product of
            vectors that are not at unit length.
    """
    root = _root(name)
    modules = read_modules(root)
    settings = read_json(root, "config_sentence_transformers.json", dict) or {}
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise refusal(name, f"it is a {kind} of sentence-transformers, not a dense encoder", REMEDY)
    _refuse_prompts(name, settings)
    if modules is None:
        return
    _refuse_modules(name, root, modules, settings)


def _root(name: str) -> str:
    """Return the folder with `modules.json` where `name` is the transformer's own folder in it."""
    above = Path(name).resolve().parent
    if not Path(name).is_dir() or (Path(name) / "modules.json").is_file():
        return name
    paths = [module.get("path") for module in read_modules(str(above)) or []]
    return str(above) if Path(name).resolve().name in paths else name


def _refuse_modules(
    name: str, root: str, modules: list[dict[str, Any]], settings: dict[str, Any]
) -> None:
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    for kind in kinds:
        if kind not in KNOWN_MODULES:
            raise refusal(
                name, f"its modules.json adds a {kind} layer to the encoder, which genir lacks",
                REMEDY,
            )  # fmt: skip
    pooling = [m for m, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    if len(pooling) != 1:
        raise refusal(name, f"its modules.json has {len(pooling)} Pooling layers, not one", REMEDY)
    file = f"{pooling[0].get('path', '1_Pooling')}/config.json"
    config = read_json(root, file, dict)
    if config is None:
        raise refusal(name, f"it has no {file}, which says how to pool", REMEDY)
    modes = pooling_modes(config)
    if modes != ["mean"]:
        raise refusal(
            name, f"{file} says that it pools by {' and '.join(modes)}, and genir only takes means",
            REMEDY,
        )  # fmt: skip
    similarity = settings.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "euclidean") and "Normalize" not in kinds:
        raise refusal(
            name, f"it compares vectors of any length by {similarity!r}, and genir by cosine",
            REMEDY,
        )  # fmt: skip


def pooling_modes(config: dict[str, Any]) -> list[str]:
    """Return the modes that a pooling layer's configuration names, in either layout."""
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [mode for key, mode in LEGACY_MODES.items() if config.get(key)] or "mean"
    return list(map(str, mode)) if isinstance(mode, list) else [str(mode)]


def _refuse_prompts(name: str, settings: dict[str, Any]) -> None:
    prompts = settings.get("prompts")
    used = {k: v for k, v in prompts.items() if v} if isinstance(prompts, dict) else {}
    if used:
        key, text = next(iter(used.items()))
        raise refusal(
            name, f"it was trained with prompts ({key}: {text!r}), which genir does not add", REMEDY
        )
