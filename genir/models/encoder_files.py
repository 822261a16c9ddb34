"""Files of a text encoder: loading of a third-party one, saving and restoring of genir's own."""

from functools import partial
from os.path import isdir
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers.normalizers import Lowercase, Sequence
from torch import nn

from genir.config import validate
from genir.errors import InputError
from genir.manifest import read_json
from genir.models.bert_network import BertNetwork, supported_config
from genir.models.checkpoint_checks import (
    check_files,
    check_place,
    first_line,
    refuse_genir_folder,
    unsupported_error,
)
from genir.models.checkpoint_io import read_tokenizer
from genir.models.encoder_design import (
    DOCUMENT_FOLDER,
    NETWORKS,
    WEIGHTED_LAYERS,
    EncoderDesign,
    EncoderPart,
    mean_design,
)
from genir.models.encoder_layers import make_layer
from genir.models.network_loading import MINILM, load_network, load_pretrained
from genir.models.sentence_folder import read_design
from genir.models.size_limits import Weights, build_within
from genir.models.static_network import StaticNetwork, load_static

DESIGN_FILE = "encoder.json"


# --- a third-party encoder ---------------------------------------------------------------------


def find_design(name: str) -> tuple[str, EncoderDesign]:
    """Return the folder, or hub name, of a third-party encoder's files, and its design.

    Raises:
        InputError: The encoder does not exist, or has a layer that genir does not support.
    """
    if name == MINILM:
        return name, mean_design()
    check_place(name)
    refuse_genir_folder(name)
    return read_design(name)


def load_network_part(root: str, part: EncoderPart) -> tuple[Any, Any]:
    """Load a network and its tokenizer.

    Raises:
        InputError: The files are missing, damaged or not supported.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    name = str(Path(root) / part.folder) if part.folder else root
    if part.folder and not isdir(name):  # a relative path may look like a hub name
        raise unsupported_error(
            root, f"its modules.json names the folder {part.folder!r}, which does not exist",
            "restore the folder",
        )  # fmt: skip
    if part.type == "StaticEmbedding":
        return load_static(name)
    if name != MINILM:
        check_files(name)
        load_pretrained(AutoConfig, name)  # report a bad configuration before the tokenizer
    tokenizer = load_pretrained(AutoTokenizer, name)
    if part.lower_case:
        _lower(tokenizer, f"cannot load {name!r}")
    return load_network(AutoModel, name), tokenizer


def _lower(tokenizer: Any, where: str) -> None:
    """Convert texts to lower case before all other normalisation, as sentence-transformers does.

    Some tokenizer classes do not save this.
    """
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None:
        raise InputError(
            f"{where}: it sets do_lower_case, but its tokenizer has no tokenizer.json; convert it "
            "to a fast tokenizer"
        )
    before = inner.normalizer
    if not (isinstance(before, Sequence) and isinstance(before[0], Lowercase)):
        inner.normalizer = Sequence([Lowercase(), *([] if before is None else [before])])


def load_layer(root: str, part: EncoderPart) -> nn.Module:
    """Build a layer and load its weights, if it has some.

    Raises:
        InputError: The weights are missing, damaged or do not fit.
    """
    from transformers.utils import cached_file

    if part.type not in WEIGHTED_LAYERS:
        return make_layer(part)
    file = f"{part.folder}/model.safetensors" if part.folder else "model.safetensors"
    path = cached_file(root, file, _raise_exceptions_for_missing_entries=False)
    if path is None:
        raise unsupported_error(
            root, f"it has no {file}",
            "where you trust it, write it anew by SentenceTransformer(...).save_pretrained()",
        )  # fmt: skip
    where = f"cannot load {root!r}: its {part.type} layer's config.json"
    try:
        weights = load_file(path)
        layer = build_within(weights, partial(make_layer, part), where)
        layer.load_state_dict(weights)
    except InputError:
        raise
    except Exception as error:  # safetensors and torch
        raise unsupported_error(root, f"{file}: {first_line(error)}") from None
    if not all(bool(values.isfinite().all()) for values in layer.parameters()):
        raise unsupported_error(root, f"{file} has values that are not finite")
    return layer.float()


# --- a model folder ----------------------------------------------------------------------------


def save(design: EncoderDesign, towers: list[Any], folder: Path) -> None:
    """Write `encoder.json`, the configurations of networks, and a document network's tokenizer.

    The tokenizer of queries and the weights are written with the model.

    Args:
        towers: Encoder of queries and, if it differs, that of documents (`TextEncoder`).
    """
    for name, part in design.parts.items():
        if part.type not in NETWORKS:
            design = design.with_part(name, folder="")
    for tower, route in zip(towers, (design.query, design.document), strict=False):
        own = DOCUMENT_FOLDER if tower.backbone is not towers[0].backbone else ""
        table = tower.embeddings.shape if tower.is_static else (0, 0)
        design = design.with_part(
            route[0], folder=own, length=tower.length, rows=table[0], width=table[1]
        )
        (folder / own).mkdir(exist_ok=True)
        if not tower.is_static:
            tower.config.save_pretrained(folder / own)
        if own:
            tower.tokenizer.save_pretrained(folder / own)
    text = design.model_dump_json(indent=2, exclude_defaults=True)
    (folder / DESIGN_FILE).write_text(text + "\n", encoding="utf-8")


def read_saved_design(folder: Path) -> EncoderDesign:
    """Return the design of a model folder. Raises InputError if it is invalid."""
    path = folder / DESIGN_FILE
    design = validate(EncoderDesign, read_json(path), str(path))
    for name in {design.query[0], design.document[0]}:
        if design.parts[name].folder not in ("", DOCUMENT_FOLDER) or not design.parts[name].length:
            raise InputError(
                f"{path}: parts.{name} has no valid folder and length; restore the folder or train "
                "it again"
            )
    return design


def restore_network(folder: Path, weights: Weights, part: EncoderPart) -> tuple[Any, Any]:
    """Build a network of a model folder, without its weights, and load its tokenizer."""
    own = folder / part.folder
    tokenizer = read_tokenizer(own)
    if part.lower_case:
        _lower(tokenizer, str(own))
    if part.type == "StaticEmbedding":
        table = partial(StaticNetwork, part.rows, part.width)
        return build_within(weights, table, f"{folder / DESIGN_FILE}"), tokenizer
    where = f"{own / 'config.json'}"
    if bert := supported_config(read_json(own / "config.json")):
        return build_within(weights, partial(BertNetwork, bert), where), tokenizer
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(own, trust_remote_code=False, local_files_only=True)
    # output_attentions and output_hidden_states would change the output or prevent saving.
    config.output_attentions = config.output_hidden_states = False
    build = partial(AutoModel.from_config, config, dtype=torch.float32)
    return build_within(weights, build, where), tokenizer


def restore_layer(folder: Path, weights: Weights, part: EncoderPart) -> nn.Module:
    """Build a layer of a model folder, without its weights."""
    return build_within(weights, partial(make_layer, part), str(folder / DESIGN_FILE))
