"""Checks of third-party pre-trained models: files and tokenizer.

Local folders and hub names are checked by the same calls.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from genir.arguments import as_path
from genir.corpus.json_lines import shorten
from genir.errors import InputError
from genir.hub import may_be_of_hub
from genir.models.smoke_test import SmokeTestFailed

Json = TypeVar("Json", dict[str, Any], list[Any])
SOURCE_HINT = (
    "give 'minilm', a local folder of a transformers model, or a hub name (which needs the network)"
)
UNSAFE_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5",
                  "flax_model.msgpack")  # fmt: skip
LIMITED_EXPERTS = {"nllb-moe": "M2M100 (dense NLLB)", "switch_transformers": "T5"}
"""Mixtures of experts that drop tokens in large batches, with the model to use instead."""


def unsupported_error(name: str, reason: str, remedy: str = SOURCE_HINT) -> InputError:
    """Return the error for a pre-trained model that cannot be used."""
    return InputError(f"cannot load {name!r}: {reason}; {remedy}")


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, plus the second if it ends in a colon.

    An exception without a message is named by its class.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    whole = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return whole.rstrip(".") or type(error).__name__


def find_file(name: str, file: str) -> Path | None:
    """Return the path of a file of a model; None if it does not exist.

    Raises:
        InputError: The hub cannot be reached, or has no such model.
    """
    from transformers.utils import cached_file

    try:  # an unreachable hub is one error, not a missing file for each call
        needed = file == "config.json" and not Path(name).is_dir()
        found = cached_file(name, file, _raise_exceptions_for_missing_entries=needed)
    except (OSError, ValueError) as error:
        raise unsupported_error(name, first_line(error)) from None
    return None if found is None else Path(found)


def read_json(name: str, file: str, kind: type[Json]) -> Json | None:
    """Return the content of a JSON file of a model; None if it does not exist.

    Raises:
        InputError: Invalid JSON, another type, or the hub cannot be reached.
    """
    found = find_file(name, file)
    if found is None:
        return None
    try:
        values = json.loads(found.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise unsupported_error(
            name, f"its {file} is not valid JSON ({first_line(error)})"
        ) from None
    if not isinstance(values, kind):
        raise unsupported_error(
            name, f"its {file} is not a JSON {'object' if kind is dict else 'list'}"
        )
    return values


def read_modules(name: str) -> list[dict[str, Any]] | None:
    """Return the layers of a sentence-transformers folder; None for other folders.

    Raises:
        InputError: `modules.json` is not a list of layers.
    """
    modules = read_json(name, "modules.json", list)
    if modules is not None and not all(isinstance(module, dict) for module in modules):
        raise unsupported_error(name, "its modules.json is not a list of JSON objects")
    return modules


def check_files(name: str) -> None:
    """Reject a model whose files show that genir cannot load it.

    Raises:
        InputError: A missing folder, a genir model folder, an adapter, quantised weights, a model
            that needs its own code, or weights in a format that can run code.
    """
    folder = Path(name)
    check_place(name)
    refuse_genir_folder(name)
    config = read_json(name, "config.json", dict)
    if config is None:
        raise _without_config(name)
    _refuse_config(name, config)
    read_json(name, "generation_config.json", dict)  # transformers reports errors without details
    if folder.is_dir():
        _refuse_weights(name, folder)


def refuse_genir_folder(name: str) -> None:
    """Raise InputError for a model folder of genir."""
    if (Path(name) / "manifest.json").is_file():
        raise unsupported_error(
            name,
            "it is a model folder of genir",
            "name it in [model] init_from, or give another model",
        )


def check_place(name: str) -> None:
    """Raise InputError for a name that is neither a folder nor a possible hub name."""
    if not name.strip():
        raise unsupported_error(name, "it is empty")
    folder = as_path(name, "model")
    if folder.is_dir():
        return
    if folder.exists() or not may_be_of_hub(name):
        raise unsupported_error(
            name, "it is a file" if folder.exists() else "there is no such folder"
        )


def _without_config(name: str) -> InputError:
    if read_json(name, "adapter_config.json", dict) is not None:
        remedy = "merge both with merge_and_unload() and save_pretrained(), and give that folder"
        return unsupported_error(name, "it is an adapter (PEFT) without its base model", remedy)
    inner = next((module.get("path") for module in read_modules(name) or []), None)
    if inner:
        return unsupported_error(
            name, f"its transformer is in {inner}", f"give {str(Path(name) / inner)!r}"
        )
    return unsupported_error(name, "it has no config.json")


def _refuse_config(name: str, config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "?"
        raise unsupported_error(
            name, f"its weights are quantised ({method})",
            "genir needs plain weights: give the model that it was made from",
        )  # fmt: skip
    kind = config.get("model_type")
    if not isinstance(kind, str | None):
        raise unsupported_error(name, f"its config.json has the model_type {kind!r}, not a name")
    if kind in LIMITED_EXPERTS:
        reason = (
            f"a {kind!r} model has experts of limited capacity, so that an answer depends on the "
            "other texts of a batch"
        )
        raise unsupported_error(name, reason, f"give a {LIMITED_EXPERTS[kind]} model")
    if config.get("auto_map") and kind not in CONFIG_MAPPING:
        raise unsupported_error(
            name, f"a model of type {kind!r} needs its own code, which genir does not run",
            "give a model of an architecture that transformers has",
        )  # fmt: skip


def _refuse_weights(name: str, folder: Path) -> None:
    if any(folder.glob("*.safetensors")) or any(folder.glob("*.safetensors.index.json")):
        return
    unsafe = [file for file in UNSAFE_WEIGHTS if (folder / file).is_file()]
    if unsafe:
        raise unsupported_error(
            name, f"its weights are only in {unsafe[0]}, a format that can run code",
            "convert them where you trust them, with transformers: load the model by "
            "from_pretrained() and write it by save_pretrained(), which makes model.safetensors",
        )  # fmt: skip
    other = sorted(file.name for file in folder.iterdir() if file.suffix in (".gguf", ".onnx"))
    found = f", only {other[0]}" if other else ""
    raise unsupported_error(name, f"it has no model.safetensors{found}")


def add_padding(tokenizer: Any, name: str) -> None:
    """Set the padding token of a tokenizer without one to its end token or another special one.

    Any token will do, since padding is masked.

    Raises:
        InputError: The tokenizer has no special token.
    """
    if tokenizer.pad_token_id is not None:
        return
    special = [tokenizer.eos_token, tokenizer.bos_token, *tokenizer.all_special_tokens]
    chosen = next(filter(None, special), None)
    if chosen is None:
        raise unsupported_error(
            name, "its tokenizer has no padding, end or other special token",
            "add pad_token to its tokenizer_config.json",
        )  # fmt: skip
    tokenizer.pad_token = chosen


def check_vocabulary(tokenizer: Any, rows: int, name: str) -> None:
    """Reject a tokenizer with token ids beyond the embeddings of the network."""
    beyond = {token: n for token, n in tokenizer.get_vocab().items() if n >= rows}
    if beyond:
        first = min(beyond, key=beyond.__getitem__)
        raise unsupported_error(
            name,
            f"its tokenizer has {len(beyond)} tokens ({first!r}, id {beyond[first]}, ...) "
            f"beyond the {rows} embeddings of its weights",
            "give it the tokenizer that belongs to it, or resize_token_embeddings() of the model",
        )


def check_token(name: str, key: str, value: object, rows: int) -> None:
    """Reject the id of a special token in a configuration if it has no embedding.

    Args:
        key: Configuration key and file.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < rows:
        raise unsupported_error(
            name, f"{key} is {shorten(value)}, not one of its {rows} token embeddings",
            f"set it to the token id that the model was trained with, from 0 to {rows - 1}",
        )  # fmt: skip


@contextmanager
def refuse_on_error(name: str, subject: str, remedy: str) -> Iterator[None]:
    """Convert exceptions of third-party code in the block to an error that names the model.

    Raises:
        InputError: Any exception except out-of-memory errors.
    """
    try:
        yield
    except SmokeTestFailed as error:
        raise unsupported_error(name, f"genir cannot use its {subject} ({error})", remedy) from None
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each architecture may fail differently
        reason = f"genir cannot call its {subject} ({first_line(error)})"
        raise unsupported_error(name, reason, remedy) from error
