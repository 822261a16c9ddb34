"""Writing and reading a model's weights and options, safely and from local files alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from genir.config import Strict, validate
from genir.errors import InputError
from genir.manifest import read_json

Options = TypeVar("Options", bound=Strict)


def write_model(folder: Path, model: Any, options: Strict) -> None:
    """Write `model.safetensors`, `model.json` (kind and options) and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    module: nn.Module = model
    save_model(module, str(folder / "model.safetensors"))
    values = {"kind": model.kind, "options": options.model_dump()}
    (folder / "model.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    model.tokenizer.save_pretrained(folder)


@contextmanager
def read_model(
    folder: Path, kind: str, options: type[Options]
) -> Iterator[tuple[Options, dict[str, Tensor]]]:
    """Give (options, weights) to a `with` block that rebuilds the model of that kind.

    Raises InputError for a missing, damaged or foreign file, also when the block cannot fit the
    weights to what it builds.
    """
    try:
        values = read_json(folder / "model.json")
        if values["kind"] != kind:
            raise InputError(f"{folder / 'model.json'}: kind {values['kind']!r} is not {kind!r}")
        known = validate(options, values["options"], str(folder / "model.json"))
        yield known, load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        reason = "; ".join(line.strip() for line in str(error).strip().splitlines()[:3])
        raise InputError(
            f"{folder}: the model cannot be read ({reason}); restore the folder or train it again"
        ) from None
