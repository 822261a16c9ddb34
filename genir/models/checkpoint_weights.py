"""Checks of the weights of third-party pre-trained models."""

from collections.abc import Container, Iterator
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers.utils import cached_file

from genir.models.checkpoint_checks import read_json, unsupported_error

UNUSED_HEADS = frozenset({"pooler"})
"""Parts that genir never calls; their weights may be missing."""
COMPUTED_TENSORS = (
    "position_ids",
    "token_type_ids",
    "inv_freq",
    "masked_bias",
    "attn.bias",
    ".attention.bias",
    "final_logits_bias",
    "embed_positions.weight",
    "embed_positions.weights",
    "num_batches_tracked",
)
"""Name suffixes of tensors that older releases saved and newer ones compute."""
FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""Data types of plain weights in a safetensors file."""
ZERO_BY_DESIGN = "token_type_embeddings"
"""A table that some models (RoBERTa) do not use and fill with zeros."""


def require_weights(name: str, net: Any, report: Any, encoder_alone: bool) -> None:
    """Reject weights that do not match the network.

    Transformers only warns about missing and unexpected weights: it initialises or drops them. It
    converts any data type to floats without a warning.

    Args:
        name: Model name for the error.
        net: Network.
        report: Loading report of `from_pretrained(..., output_loading_info=True)`.
        encoder_alone: Whether the decoder, if there is one, is discarded.

    Raises:
        InputError: Missing weights of a part in use, weights for parts beyond the configuration,
            a data type other than float, non-finite values, or a table of zeros.
    """
    unused = UNUSED_HEADS
    if encoder_alone and has_decoder(net):
        unused = unused | {"decoder"}
    _refuse_values(name, net, unused if encoder_alone else frozenset())
    _refuse_missing(name, net, report["missing_keys"], unused)
    _refuse_unexpected(name, net, report["unexpected_keys"], unused)
    buffers = {key for key, _ in net.named_buffers()}
    _refuse_types(name, {*report["unexpected_keys"], *buffers})


def _refuse_values(name: str, net: Any, unused: frozenset[str]) -> None:
    called = [
        (key, tensor) for key, tensor in net.named_parameters() if not unused & set(key.split("."))
    ]
    for key, tensor in called:
        if not torch.isfinite(tensor).all():
            raise unsupported_error(name, f"its weights have values that are not finite, in {key}")
    empty = [
        key
        for key, tensor in called
        if tensor.dim() > 1 and len(tensor) > 1 and ZERO_BY_DESIGN not in key and not tensor.any()
    ]
    if empty:
        raise unsupported_error(
            name, f"its weights are all zero in {_some(empty)}",
            "the file is incomplete or damaged: download it again",
        )  # fmt: skip


def _refuse_missing(name: str, net: Any, missing: Any, unused: frozenset[str]) -> None:
    parameters = dict(net.named_parameters())  # buffers are computed, not loaded
    lost = [
        key
        for key in missing
        if key in parameters
        and not unused & set(key.split("."))
        and not hasattr(net.get_submodule(key.rpartition(".")[0]), "create_weight")
    ]
    if lost:
        raise unsupported_error(
            name, f"its weights lack {_some(lost)}, which would be initialised at random",
            f"give the folder of a whole {type(net).__name__}, with the config.json that belongs "
            "to its weights",
        )  # fmt: skip


def _refuse_unexpected(name: str, net: Any, unexpected: Any, unused: frozenset[str]) -> None:
    base = getattr(net, "base_model", net)
    prefix = f"{getattr(net, 'base_model_prefix', '')}."
    parts = {part for part, _ in [*net.named_children(), *base.named_children()]}
    foreign = [
        key
        for key in unexpected
        if key.removeprefix(prefix).partition(".")[0] in parts - {"lm_head"}
        and not key.endswith(COMPUTED_TENSORS)
        and not unused & set(key.split("."))
    ]
    if foreign:
        raise unsupported_error(
            name, f"its weights have {_some(foreign)}, which its config.json does not define",
            "give it the config.json that belongs to its weights",
        )  # fmt: skip


def _refuse_types(name: str, dropped: Container[str]) -> None:
    """Reject integer, boolean or complex weights, from the file headers.

    dropped: tensors that are not weights of the network.
    """
    for key, kind in _stored_types(name):
        if kind not in FLOATS and key not in dropped and not key.endswith(COMPUTED_TENSORS):
            raise unsupported_error(
                name, f"its weights have the type {kind} in {key}, not a plain float",
                "genir needs plain weights: give the model that it was made from",
            )  # fmt: skip


def _stored_types(name: str) -> Iterator[tuple[str, str]]:
    """Yield name and data type of each tensor in the safetensors files of a model."""
    whole = cached_file(name, "model.safetensors", _raise_exceptions_for_missing_entries=False)
    files = ["model.safetensors"]
    if whole is None:
        index = read_json(name, "model.safetensors.index.json", dict) or {}
        files = sorted(set(index.get("weight_map", {}).values()))
    for file in files:
        with safe_open(str(cached_file(name, file)), framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 - it is no mapping
                yield key, stored.get_slice(key).get_dtype()


def has_decoder(net: Any) -> bool:
    """Return whether a network has encoder and decoder modules (T5's configuration may mislead)."""
    return all(isinstance(getattr(net, part, None), nn.Module) for part in ("encoder", "decoder"))


def _some(keys: list[str]) -> str:
    keys = sorted(keys)
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
