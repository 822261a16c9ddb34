"""Checks of the weights of third-party pre-trained models."""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from genir.models.checkpoint_checks import first_line, read_json, unsupported_error

INDEX = "model.safetensors.index.json"
LFS_HEADER = b"version https://git-lfs.github.com/spec/"
UNUSED_HEADS = frozenset({"pooler"})
"""Parts that genir never calls; their weights may be missing."""
COMPUTED_TENSORS = (
    "position_ids", "token_type_ids", "inv_freq", "masked_bias", "attn.bias", ".attention.bias",
    "final_logits_bias", "embed_positions.weight", "embed_positions.weights", "num_batches_tracked",
)  # fmt: skip
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
        report: Loading report of `from_pretrained(..., output_loading_info=True)`.
        encoder_alone: Whether the decoder, if there is one, is discarded.

    Raises:
        InputError: Weights of other sizes than the configuration's, missing weights of a part in
            use, weights for parts beyond the configuration, a data type other than float,
            non-finite values, or a table of zeros.
    """
    unused = UNUSED_HEADS
    if encoder_alone and has_decoder(net):
        unused = unused | {"decoder"}
    _refuse_sizes(name, report["mismatched_keys"])
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


def _refuse_sizes(name: str, mismatched: Any) -> None:
    """Reject weights whose sizes are not the configuration's."""
    found = sorted((key, list(stored), list(wanted)) for key, stored, wanted in mismatched)
    if found:
        key, stored, wanted = found[0]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise unsupported_error(
            name, f"its weights hold {stored} for {key}{more}, but its config.json states {wanted}",
            "give it the config.json that belongs to its weights",
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
    for key, stored in _stored_tensors(name):
        kind = stored.get_dtype()
        if kind not in FLOATS and key not in dropped and not key.endswith(COMPUTED_TENSORS):
            raise unsupported_error(
                name, f"its weights have the type {kind} in {key}, not a plain float",
                "genir needs plain weights: give the model that it was made from",
            )  # fmt: skip


def stored_shapes(name: str) -> dict[str, torch.Tensor]:
    """Return the tensors in the safetensors files of a model by name, without values.

    Raises:
        InputError: A file is damaged or missing.
    """
    try:
        stored = [(key, header.get_shape()) for key, header in _stored_tensors(name)]
    except (OSError, SafetensorError) as error:
        raise unsupported_error(name, first_line(error)) from None
    return {key: torch.empty(shape, device="meta") for key, shape in stored}


def _stored_tensors(name: str) -> Iterator[tuple[str, Any]]:
    """Yield name and header of each tensor in the safetensors files of a model."""
    from transformers.utils import cached_file

    whole = cached_file(name, "model.safetensors", _raise_exceptions_for_missing_entries=False)
    files = ["model.safetensors"]
    if whole is None:
        index = read_json(name, INDEX, dict) or {}
        shards = index.get("weight_map", {})
        valid = isinstance(shards, dict) and all(isinstance(one, str) for one in shards.values())
        if not valid:
            raise unsupported_error(name, f"its {INDEX} has no weight_map of file names")
        files = sorted(set(shards.values()))
    for file in files:
        path = str(cached_file(name, file))
        _refuse_lfs_pointer(name, path)
        with safe_open(path, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 - it is no mapping
                yield key, stored.get_slice(key)


def _refuse_lfs_pointer(name: str, path: str) -> None:
    with open(path, "rb") as file:
        if file.read(len(LFS_HEADER)) == LFS_HEADER:
            raise unsupported_error(
                name, f"its {Path(path).name} is a Git LFS pointer, not the weights",
                "run `git lfs pull` in its folder",
            )  # fmt: skip


def has_decoder(net: Any) -> bool:
    """Return whether a network has encoder and decoder modules (T5's configuration may mislead)."""
    return all(isinstance(getattr(net, part, None), nn.Module) for part in ("encoder", "decoder"))


def _some(keys: list[str]) -> str:
    keys = sorted(keys)
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
