"""Tokenizer of a model folder, read by the tokenizers library.

Importing transformers' tokenizers takes a second of CPU, a third of a search. Their object is
loaded when an attribute beyond the ones here is needed, for example to save the model.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from genir.manifest import read_json

CLASSES = frozenset({"BertTokenizer", "BertTokenizerFast"})
"""Classes of transformers that tokenize exactly as their tokenizer.json says."""
SPECIAL_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class SavedTokenizer:
    """Tokenizer of a model folder, called like the one of transformers."""

    def __init__(self, folder: Path, settings: dict[str, Any], load: Callable[[], Any]) -> None:
        """Read tokenizer.json.

        Args:
            folder: The model folder.
            settings: Content of tokenizer_config.json.
            load: Loads the tokenizer of transformers.
        """
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._length: int | None = None
        self._settings, self._load = settings, load

    @cached_property
    def of_transformers(self) -> Any:
        """The tokenizer of transformers."""
        return self._load()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of copying, for example
            raise AttributeError(name)
        return getattr(self.of_transformers, name)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def __call__(
        self,
        texts: str | Sequence[str],
        truncation: bool = False,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        verbose: bool = False,
    ) -> dict[str, Any]:
        """Return `input_ids`, a list of token ids for each text; a string gives one list."""
        length = max_length if truncation else None
        if length != self._length:
            if length is None:
                self._tokenizer.no_truncation()
            else:
                self._tokenizer.enable_truncation(length)
            self._length = length
        if isinstance(texts, str):
            return {"input_ids": self._tokenizer.encode(texts, None, False, add_special_tokens).ids}
        found = self._tokenizer.encode_batch_fast(list(texts), False, add_special_tokens)
        return {"input_ids": [one.ids for one in found]}

    @property
    def pad_token_id(self) -> int | None:
        """Id of the padding token."""
        return self._special_id("pad")

    @property
    def unk_token_id(self) -> int | None:
        """Id of the token for unknown words."""
        return self._special_id("unk")

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the special tokens."""
        ids = (self._special_id(name) for name in SPECIAL_TOKENS)
        return list(dict.fromkeys(one for one in ids if one is not None))

    def _special_id(self, name: str) -> int | None:
        token = self._settings.get(f"{name}_token")
        if isinstance(token, dict):
            token = token.get("content")
        return self._tokenizer.token_to_id(token) if isinstance(token, str) else None


def transformers_tokenizer(tokenizer: Any) -> Any:
    """Return the tokenizer of transformers for a tokenizer of a model."""
    return tokenizer.of_transformers if isinstance(tokenizer, SavedTokenizer) else tokenizer


def saved_tokenizer(folder: Path, load: Callable[[], Any]) -> SavedTokenizer | None:
    """Return the tokenizer of a model folder; None if only transformers can read it.

    Args:
        folder: The model folder.
        load: Loads the tokenizer of transformers.
    """
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else None
    if not isinstance(settings, dict) or settings.get("tokenizer_class") not in CLASSES:
        return None
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens")
    plain = settings.get("truncation_side", "right") == "right"
    plain = plain and not settings.get("split_special_tokens")
    whole = (folder / "tokenizer.json").is_file() and not extra and plain
    return SavedTokenizer(folder, settings, load) if whole else None
