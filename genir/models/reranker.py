"""Models that score a query and a text together: cross-encoders, and monoT5."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import logsigmoid

from genir.cancellation import raise_if_cancelled
from genir.errors import InputError
from genir.models.checkpoint_checks import (
    SOURCE_HINT,
    check_files,
    check_vocabulary,
    read_modules,
    refuse_on_error,
    unsupported_error,
)
from genir.models.network_loading import load_network, load_pretrained, silence_transformers
from genir.models.position_limits import positions, require_within
from genir.models.tokenization import pad_batch

Pair = tuple[str, str]
"""A query and a text."""
HINT = "give a cross-encoder of sentence-transformers, or monoT5: a local folder or a hub name"
MONOT5 = "T5ForConditionalGeneration"
MONOT5_LENGTH = 512
"""Maximum number of tokens that monoT5 was trained with."""
MAX_OWN_LENGTH = 8_192
"""Maximum number of tokens of a pair if neither the recipe nor the model states one."""
TRANSFORMER = ".Transformer"


class Reranker:
    """A model that scores pairs of a query and a text.

    Attributes:
        pairs: Number of pairs scored so far.
        seconds: Time that they took.
    """

    def __init__(self, name: str, length: int, device: str) -> None:
        """Load a model in float32.

        Args:
            name: A local folder or a hub name.
            length: Maximum number of tokens of a pair; 0: the model's own.
            device: For example "cpu".

        Raises:
            InputError: It cannot be loaded, has another number of labels than one, is no
                re-ranker, or takes fewer tokens.
        """
        self.pairs, self.seconds = 0, 0.0
        self._name = name
        try:
            with refuse_on_error(name, "configuration", HINT):
                self._predict = _load(name, length, device)
        except InputError as error:  # checks that encoders share have a remedy for encoders
            text = str(error).replace(SOURCE_HINT, HINT)
            key = "" if text.startswith("[rerank]") else "[rerank] model: "
            raise InputError(key + text) from None

    def score(self, pairs: Sequence[Pair], batch_size: int) -> list[float]:
        """Return the score of each pair, in batches of similar length.

        Raises:
            InputError: A score is not finite.
            Cancelled: The enclosing computation was cancelled.
        """
        began = perf_counter()
        scores = np.zeros(len(pairs))
        order = sorted(range(len(pairs)), key=lambda row: -sum(map(len, pairs[row])))
        for start in range(0, len(order), batch_size):
            raise_if_cancelled()
            rows = order[start : start + batch_size]
            scores[rows] = self._predict([pairs[row] for row in rows])
        if not np.isfinite(scores).all():
            raise InputError(
                f"[rerank] model: {self._name!r} returns scores that are not finite; {HINT}"
            )
        self.pairs += len(pairs)
        self.seconds += perf_counter() - began
        return scores.tolist()

    def cost(self, top_n: int) -> str:
        """Return pairs a second, and milliseconds for `top_n` pairs, as text."""
        if not self.pairs:
            return "no pairs"
        each = self.seconds / self.pairs
        return f"{1 / each:,.0f} pairs a second, {1000 * each * top_n:,.0f} ms for {top_n} pairs"


load_reranker = lru_cache(maxsize=1)(Reranker)
"""Load a re-ranker, or return the last one again: versions of a model share it."""


def _load(name: str, length: int, device: str) -> Callable[[list[Pair]], ArrayLike]:
    """Return a function from pairs to their scores."""
    from transformers import AutoConfig

    check_files(name)
    config = load_pretrained(AutoConfig, name)
    kind = next(iter(config.architectures or ()), "model without an architecture")
    if kind == MONOT5:
        return MonoT5(name, length or MONOT5_LENGTH, device).score
    if not kind.endswith("ForSequenceClassification"):
        raise unsupported_error(name, f"it is a {kind}, not a cross-encoder", HINT)
    if config.num_labels != 1:
        raise unsupported_error(
            name, f"it has {config.num_labels} labels, but a re-ranker has one score", HINT
        )
    kinds = [str(one.get("type")) for one in read_modules(name) or [{"type": TRANSFORMER}]]
    if len(kinds) != 1 or not kinds[0].endswith(TRANSFORMER):
        raise unsupported_error(name, f"its modules.json has the layers {', '.join(kinds)}", HINT)
    return _load_cross_encoder(name, length, device)


def _load_cross_encoder(name: str, length: int, device: str) -> Callable[[list[Pair]], ArrayLike]:
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification

    # sentence-transformers initialises missing weights at random; this refuses them.
    maximum = positions(load_network(AutoModelForSequenceClassification, name))
    if maximum is not None:
        require_within("[rerank] length", length, maximum, f"the cross-encoder {name!r}")
    with silence_transformers():
        encoder = CrossEncoder(
            name, device=device, trust_remote_code=False, local_files_only=Path(name).is_dir(),
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )  # fmt: skip
    # Of RoBERTa, sentence-transformers also counts the positions that are reserved.
    most = MAX_OWN_LENGTH if maximum is None else maximum
    encoder.max_seq_length = length or min(encoder.max_seq_length or most, most)

    def predict(pairs: list[Pair]) -> ArrayLike:
        return encoder.predict(pairs, batch_size=len(pairs), show_progress_bar=False)

    return predict


class MonoT5:
    """T5 that answers whether a text is relevant with "true" or "false" (Nogueira et al., 2020).

    The score is the log-probability of "true" among the two. Long texts are cut at the end.
    """

    def __init__(self, name: str, length: int, device: str) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        self._tokenizer = load_pretrained(AutoTokenizer, name)
        self._net = load_network(AutoModelForSeq2SeqLM, name).to(device).eval()
        check_vocabulary(self._tokenizer, self._net.config.vocab_size, name)
        self._end = self._tokenizer("Relevant:")["input_ids"]
        words = [
            self._tokenizer.encode(word, add_special_tokens=False) for word in ("false", "true")
        ]
        if any(len(ids) != 1 or ids[0] == self._tokenizer.unk_token_id for ids in words):
            raise unsupported_error(
                name, 'its tokenizer has no single tokens for "true" and "false"', HINT
            )
        self._answers = [ids[0] for ids in words]
        self._room = length - len(self._end)
        if self._room < 1:
            raise InputError(f"[rerank] length = {length}: leaves no room for a text; raise it")

    @torch.inference_mode()
    def score(self, pairs: list[Pair]) -> ArrayLike:
        """Return the scores of a batch, float32 [pairs]."""
        texts = [f"Query: {query} Document: {text}" for query, text in pairs]
        read = self._tokenizer(
            texts, add_special_tokens=False, truncation=True, max_length=self._room
        )["input_ids"]
        ids, mask = pad_batch([row + self._end for row in read], self._net.config.pad_token_id)
        start = torch.full((len(pairs), 1), self._net.config.decoder_start_token_id)
        device = self._net.device
        logits = self._net(
            ids.to(device), mask.to(device), decoder_input_ids=start.to(device)
        ).logits
        no, yes = (logits[:, 0, token].float() for token in self._answers)
        return logsigmoid(yes - no).cpu().numpy()
