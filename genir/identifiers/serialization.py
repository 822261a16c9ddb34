"""Serialization of a fitted scheme: `scheme.json` and `scheme.safetensors`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genir.errors import InputError
from genir.manifest import read_json

FACTS, ARRAYS = "scheme.json", "scheme.safetensors"


@dataclass(frozen=True)
class SchemeFiles:
    """Contents of a scheme's folder. `fitted`: small fitted values; arrays are read on demand."""

    scheme: str
    options: Mapping[str, Any]
    fitted: Mapping[str, Any]
    folder: Path

    def fact(self, name: str) -> Any:
        """Return a fitted value. Raises InputError if it is missing."""
        if name not in self.fitted:
            raise InputError(f"{self.folder / FACTS}: no {name!r} under 'fitted'; train it again")
        return self.fitted[name]

    def arrays(self, wanted: Mapping[str, tuple[type[np.generic], int]]) -> dict[str, NDArray[Any]]:
        """Read named arrays, each with its dtype and number of dimensions.

        Raises:
            InputError: A file or array is missing or damaged, or holds NaN or infinity, which
                crashes faiss.
        """
        path = self.folder / ARRAYS
        if not path.is_file():
            raise InputError(f"{path}: missing from the model folder; train it again")
        try:
            arrays = load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: damaged ({error}); train it again") from None
        for name, (kind, count) in wanted.items():
            if name not in arrays or arrays[name].ndim != count or arrays[name].dtype != kind:
                raise InputError(
                    f"{path}: no array {name!r} of {count} dimensions and type {kind.__name__}; it "
                    "belongs to another scheme; train it again"
                )
            if not np.isfinite(arrays[name]).all():
                raise InputError(
                    f"{path}: the array {name!r} holds NaN or infinity; restore it or train it "
                    "again"
                )
        return arrays


def write_scheme(
    folder: Path,
    scheme: str,
    options: Mapping[str, Any],
    fitted: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a scheme's name and options, its fitted values, and its arrays if it has any."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"scheme": scheme, "options": options, "fitted": fitted}
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")
    if arrays:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / ARRAYS)


def read_scheme(folder: Path, scheme: str | None = None) -> SchemeFiles:
    """Read `scheme.json`, of the named scheme if one is given.

    Raises:
        InputError: The file is missing, damaged, or of another scheme.
    """
    path = folder / FACTS
    if not path.is_file():
        raise InputError(f"{path}: missing from the model folder; train it again")
    try:
        facts = read_json(path)
        artefact = SchemeFiles(
            facts["scheme"], dict(facts["options"]), dict(facts["fitted"]), folder
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a genir scheme ({error!r}); train it again") from None
    if scheme is not None and artefact.scheme != scheme:
        raise InputError(
            f"{path}: holds the scheme {artefact.scheme!r}, not {scheme!r}; train it again"
        )
    return artefact
