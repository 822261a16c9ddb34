"""Checks of a pre-trained model that genir did not write: its files and its tokenizer.

Names of the hub are checked through the same calls as local folders.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import CONFIG_MAPPING
from transformers.utils import cached_file

from genir.corpus.lines import shorten
from genir.errors import InputError
from genir.models.trial import TrialFailed

Json = TypeVar("Json", dict[str, Any], list[Any])
GIVE = (
    "give 'minilm', a local folder of a transformers model, or a hub name (which needs the network)"
)
UNSAFE_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5",
                  "flax_model.msgpack")  # fmt: skip
LIMITED_EXPERTS = {"nllb-moe": "M2M100 (dense NLLB)", "switch_transformers": "T5"}
"""Mixtures of experts that drop tokens when a batch has many: what to take instead."""


def refusal(name: str, reason: str, remedy: str = GIVE) -> InputError:
    """Return the error that a pre-trained model cannot be used."""
    return InputError(f"cannot load {name!r}: {reason}; {remedy}")


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, the second too where it ends in a colon.

    An exception without a message is named by its class.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    whole = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return whole.rstrip(".") or type(error).__name__


def read_json(name: str, file: str, kind: type[Json]) -> Json | None:
    """Return the content of a JSON file of a model, None where it has no such file.

    Args:
        name: a local folder, or a name of the hub.
        file: its name in there.
        kind: what the file must hold, dict or list.

    Raises:
        InputError: if the file is no such JSON, or the hub cannot be asked.
    """
    try:  # what cannot be asked at the hub is an error once, not a missing file for each
        needed = file == "config.json" and not Path(name).is_dir()
        found = cached_file(name, file, _raise_exceptions_for_missing_entries=needed)
    except (OSError, ValueError) as error:
        raise refusal(name, first_line(error)) from None
    if found is None:
        return None
    try:
        values = json.loads(Path(found).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(name, f"its {file} is not valid JSON ({first_line(error)})") from None
    if not isinstance(values, kind):
        raise refusal(name, f"its {file} is not a JSON {'object' if kind is dict else 'list'}")
    return values


def read_modules(name: str) -> list[dict[str, Any]] | None:
    """Return the layers of a sentence-transformers folder, None where it is none.

    Raises:
        InputError: for a `modules.json` that is no list of layers.
    """
    modules = read_json(name, "modules.json", list)
    if modules is not None and not all(isinstance(module, dict) for module in modules):
        raise refusal(name, "its modules.json is not a list of JSON objects")
    return modules


def check_files(name: str) -> None:
    """Refuse a model whose files say that genir cannot load it.

    Args:
        name: a local folder, or a name of the hub.

    Raises:
        InputError: for a path without a folder, a folder of genir's own, an adapter, quantised
            weights, a model that needs code of its own, or weights in a format that can run code.
    """
    folder = Path(name)
    check_place(name)
    if folder.is_dir() and (folder / "manifest.json").is_file():
        raise refusal(
            name, "it is a model folder of genir", "name it in [model] start, or give another model"
        )
    config = read_json(name, "config.json", dict)
    if config is None:
        raise _without_config(name)
    _refuse_config(name, config)
    read_json(name, "generation_config.json", dict)  # transformers says of it only that it fails
    if folder.is_dir():
        _refuse_weights(name, folder)


def check_place(name: str) -> None:
    """Raise InputError for a name that is neither a folder nor may be one of the hub."""
    folder = Path(name)
    if not name.strip():
        raise refusal(name, "it is empty")
    if folder.is_dir():
        return
    if folder.exists() or not may_be_of_hub(name):
        raise refusal(name, "it is a file" if folder.exists() else "there is no such folder")


def may_be_of_hub(name: str) -> bool:
    """Return whether a name may be one of the hub: `name` or `owner/name`, and not a path."""
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1


def _without_config(name: str) -> InputError:
    if read_json(name, "adapter_config.json", dict) is not None:
        remedy = "merge both with merge_and_unload() and save_pretrained(), and give that folder"
        return refusal(name, "it is an adapter (PEFT) without its base model", remedy)
    inner = next((module.get("path") for module in read_modules(name) or []), None)
    if inner:
        return refusal(name, f"its transformer is in {inner}", f"give {str(Path(name) / inner)!r}")
    return refusal(name, "it has no config.json")


def _refuse_config(name: str, config: dict[str, Any]) -> None:
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "?"
        raise refusal(
            name, f"its weights are quantised ({method})",
            "genir trains plain weights: give the model that it was made from",
        )  # fmt: skip
    kind = config.get("model_type")
    if not isinstance(kind, str | None):
        raise refusal(name, f"its config.json has the model_type {kind!r}, which is no name")
    if kind in LIMITED_EXPERTS:
        reason = (
            f"a {kind!r} model has experts of limited capacity, so that an answer depends on the "
            "other texts of a batch"
        )
        raise refusal(name, reason, f"give a {LIMITED_EXPERTS[kind]} model")
    if config.get("auto_map") and kind not in CONFIG_MAPPING:
        raise refusal(
            name, f"a model of type {kind!r} comes with code of its own, which genir does not run",
            "give a model of an architecture that transformers has",
        )  # fmt: skip


def _refuse_weights(name: str, folder: Path) -> None:
    if any(folder.glob("*.safetensors")) or any(folder.glob("*.safetensors.index.json")):
        return
    unsafe = [file for file in UNSAFE_WEIGHTS if (folder / file).is_file()]
    if unsafe:
        raise refusal(
            name, f"its weights are in {unsafe[0]} alone, a format that can run code",
            "convert them where you trust them, with transformers: load the model by "
            "from_pretrained() and write it by save_pretrained(), which makes model.safetensors",
        )  # fmt: skip
    other = sorted(file.name for file in folder.iterdir() if file.suffix in (".gguf", ".onnx"))
    found = f", only {other[0]}" if other else ""
    raise refusal(name, f"it has no model.safetensors{found}")


def add_padding(tokenizer: Any, name: str) -> None:
    """Give a tokenizer without a padding token one: its end token, or another special one.

    A mask hides padding from the network, so any token serves; the word channel leaves special ones
    out.

    Raises:
        InputError: for a tokenizer without any special token.
    """
    if tokenizer.pad_token_id is not None:
        return
    special = [tokenizer.eos_token, tokenizer.bos_token, *tokenizer.all_special_tokens]
    chosen = next(filter(None, special), None)
    if chosen is None:
        raise refusal(
            name, "its tokenizer has no padding, end or other special token",
            "add pad_token to its tokenizer_config.json",
        )  # fmt: skip
    tokenizer.pad_token = chosen


def check_vocabulary(tokenizer: Any, rows: int, name: str) -> None:
    """Refuse a tokenizer with tokens that the network has no embedding for.

    Args:
        tokenizer: the tokenizer.
        rows: how many embeddings the network has.
        name: where both are from.
    """
    beyond = {token: n for token, n in tokenizer.get_vocab().items() if n >= rows}
    if beyond:
        first = min(beyond, key=beyond.__getitem__)
        raise refusal(
            name,
            f"its tokenizer has {len(beyond)} tokens ({first!r}, id {beyond[first]}, and on) "
            f"beyond the {rows} embeddings of its weights",
            "give it the tokenizer that belongs to it, or resize_token_embeddings() of the model",
        )


def check_token(name: str, key: str, value: object, rows: int) -> None:
    """Refuse the id of a special token, `key` of a configuration, without an embedding.

    Args:
        name: what was loaded.
        key: the key, and the file that has it.
        value: the id.
        rows: how many embeddings the network has.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < rows:
        raise refusal(
            name, f"{key} is {shorten(value)}, which is no token of its {rows} embeddings",
            f"write there a whole number from 0 to {rows - 1}, the token that the model was trained"
            " with",
        )  # fmt: skip


@contextmanager
def refusing(name: str, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever foreign code raises in the block into an error that names the model.

    Args:
        name: where the model is from.
        what: its class or type.
        remedy: what to use instead.

    Raises:
        InputError: for any other exception but a lack of memory.
    """
    try:
        yield
    except TrialFailed as error:
        raise refusal(name, f"genir cannot use its {what} ({error})", remedy) from None
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # any architecture may fail in its own way
        reason = f"genir cannot call its {what} ({first_line(error)})"
        raise refusal(name, reason, remedy) from error
