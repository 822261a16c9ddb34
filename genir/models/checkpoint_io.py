"""Checkpoint files of a model: weights and options, in safe formats and from local files only."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from genir.config import StrictModel, validate
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.registry import load_scheme, saved_kind
from genir.manifest import read_json
from genir.models.saved_tokenizer import saved_tokenizer
from genir.models.size_limits import refuse_labels

Options = TypeVar("Options", bound=StrictModel)


def write_model(folder: Path, model: Any, options: StrictModel) -> None:
    """Write `model.safetensors`, `model.json` (kind and options) and the tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    module: nn.Module = model
    save_model(module, str(folder / "model.safetensors"))
    values = {"kind": model.kind, "options": options.model_dump()}
    (folder / "model.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(folder)


@contextmanager
def read_model(
    folder: Path, kind: str, options: type[Options]
) -> Iterator[tuple[Options, dict[str, Tensor]]]:
    """Yield (options, weights) of a model folder; the block builds the model.

    Raises:
        InputError: A file is missing, damaged or of another kind, or the weights do not fit the
            model built in the block.
    """
    try:
        values = read_json(folder / "model.json")
        if values["kind"] != kind:
            raise InputError(
                f"{folder / 'model.json'}: kind {values['kind']!r} is not {kind!r}; restore the "
                "folder or train it again"
            )
        known = validate(options, values["options"], str(folder / "model.json"))
        yield known, load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        reason = "; ".join(line.strip() for line in str(error).strip().splitlines()[:3])
        raise InputError(
            f"{folder}: the model cannot be read ({reason}); restore the folder or train it again"
        ) from None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set the parameters; a shared tensor is stored under one of its names."""
    missing, foreign = model.load_state_dict(weights, strict=False)
    own = model.state_dict(keep_vars=True)
    filled = {id(own[name]) for name in weights.keys() & own.keys()}
    lost = [name for name in missing if id(own[name]) not in filled]
    if lost or foreign:
        raise RuntimeError(f"model.safetensors lacks {lost} and has unexpected {foreign}")


def read_scheme(folder: Path) -> Scheme:
    """Return the scheme of a model folder, with the tokenizer if it emits text.

    Raises:
        InputError: A file is missing or damaged.
    """
    own = folder / "identifiers"
    return load_scheme(own, read_tokenizer(folder) if saved_kind(own).needs_tokenizer else None)


def read_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder. Raises InputError if it cannot be read."""
    if not folder.is_dir():  # transformers would look a relative path up on the hub
        raise InputError(f"{folder}: no such folder; restore the model folder or train it again")
    try:
        refuse_labels(folder)  # transformers reads config.json, too
        load = partial(_load_tokenizer, folder)
        found = saved_tokenizer(folder, load) or load()
        # Without tokenizer.json, transformers creates a tokenizer without a vocabulary.
        if len(found) <= len(found.all_special_ids):
            raise ValueError("its vocabulary is empty; is tokenizer.json missing?")
        return found
    except InputError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{folder}: the tokenizer cannot be read ({reason}); restore the folder or train it "
            "again"
        ) from None


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def read_row_width(folder: Path) -> int | None:
    """Return the number of columns of a document row of an encoder-head model, from the header of
    the weights.

    None for other models. Raises InputError if the file cannot be read.
    """
    path = folder / "model.safetensors"
    try:
        with safe_open(path, "pt") as weights:
            held = set(weights.keys())
            if "head.codebooks.0" not in held:
                return None
            width = int(weights.get_slice("head.codebooks.0").get_shape()[1])
        if "words.starts" not in held:
            return width
        size = read_json(folder / "model.json")["options"]["word_set_size"]
        return width + 2 * int(size)  # word sets have ids and weights
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or train it again") from None
