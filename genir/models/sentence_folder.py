"""Design of a third-party encoder, from the files of sentence-transformers or model2vec.

Nothing is imported from a model, and a setting that would change its vectors in a way that genir
does not support is refused by name.
"""

from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

from pydantic import ValidationError
from torch import nn

from genir.corpus.json_lines import shorten
from genir.errors import InputError
from genir.models.checkpoint_checks import (
    first_line,
    read_json,
    read_modules,
    unsupported_error,
)
from genir.models.checkpoint_weights import stored_shapes
from genir.models.encoder_design import (
    CONFIGS,
    LAYERS,
    NETWORKS,
    ROLES,
    EncoderDesign,
    EncoderPart,
    Role,
    mean_design,
)
from genir.models.sentence_settings import (
    design_settings,
    join_path,
    read_settings,
    transformer_settings,
)

LIBRARY = "sentence_transformers."
"""Module prefix of layers that need no code from the model."""
ROUTERS = ("Router", "Asym")
REMEDY = (
    "give an encoder of the layers that genir supports: "
    f"{', '.join((*NETWORKS, *LAYERS, ROUTERS[0], 'Dropout'))}"
)
SNAPSHOT_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Files of a hub model that are fetched if it consists of several modules."""
LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Keys of `1_Pooling/config.json` before sentence-transformers 5.2, which has `pooling_mode`."""


def read_design(name: str) -> tuple[str, EncoderDesign]:
    """Return the folder, or hub name, of an encoder's files, and its design.

    Args:
        name: Local folder or hub name. Without `modules.json` it is a plain transformers encoder,
            which does not state its pooling: the mean.

    Raises:
        InputError: A layer or a setting that genir does not support, or a damaged file.
    """
    root = encoder_root(name)
    modules = read_modules(root)
    settings = read_settings(name, root)
    if modules is None:
        static = _is_model2vec(root)
        design = mean_design(EncoderPart(type="StaticEmbedding" if static else "Transformer"))
    else:
        root = local_folder(root)
        design = _Reader(name, root).design(modules)
    return root, design.model_copy(update=design_settings(name, settings, design))


def encoder_root(name: str) -> str:
    """Return the parent folder if `name` is the transformer's folder below a `modules.json`."""
    above = Path(name).resolve().parent
    if not Path(name).is_dir() or (Path(name) / "modules.json").is_file():
        return name
    paths = [module.get("path") for module in read_modules(str(above)) or []]
    return str(above) if Path(name).resolve().name in paths else name


def _is_model2vec(root: str) -> bool:
    """Return whether a folder without modules is of model2vec, whose older files state no type."""
    kind = (read_json(root, "config.json", dict) or {"model_type": ""}).get("model_type")
    return kind == "model2vec" or (kind is None and "embeddings" in stored_shapes(root))


def local_folder(root: str) -> str:
    """Return the local folder, or snapshot, of a model whose modules are in several folders."""
    if Path(root).is_dir():
        return root
    try:
        from huggingface_hub import snapshot_download

        return snapshot_download(root, allow_patterns=list(SNAPSHOT_FILES))
    except Exception as error:  # the hub may fail in many ways
        raise unsupported_error(root, first_line(error)) from None


class _Reader:
    """Reads the modules of a sentence-transformers folder into a design."""

    def __init__(self, name: str, root: str) -> None:
        self.name = name
        self.root = root
        self.parts: dict[str, EncoderPart] = {}
        self.shown: list[str] = []

    def design(self, modules: list[dict[str, Any]]) -> EncoderDesign:
        routes = {role: [*self._route(modules, role)] for role in ROLES}
        ids = {name: str(number) for number, name in enumerate(self.parts)}
        try:
            return EncoderDesign(
                parts={ids[name]: part for name, part in self.parts.items()},
                query=[ids[name] for name in routes["query"]],
                document=[ids[name] for name in routes["document"]],
            )
        except ValidationError:
            found = ", ".join(dict.fromkeys(self.shown)) or "none"
            raise self._error(
                f"its modules.json has the layers {found}, not one Transformer or StaticEmbedding, "
                "then others"
            ) from None

    def _error(self, reason: str, remedy: str = REMEDY) -> Exception:
        return unsupported_error(self.name, reason, remedy)

    def _route(self, modules: list[dict[str, Any]], role: Role) -> Iterator[str]:
        """Yield the ids of the parts of a role, and read each part once."""
        for module in modules:
            path = self._path(module.get("path") or "")
            kind = self._kind(module.get("type"), "modules.json")
            self.shown.append(kind)
            if kind in ROUTERS:
                yield from self._routed(path, role)
            else:
                yield from self._part(kind, path)

    def _routed(self, path: str, role: Role) -> Iterator[str]:
        config = self._json(path, "router_config.json") or self._json(path, "config.json") or {}
        try:
            types, structure = dict(config["types"]), dict(config["structure"])
            parameters = dict(config.get("parameters") or {})
            for one in structure[resolve_route(structure, parameters, role)]:
                kind = self._kind(types[one], f"{path or '.'}/router_config.json")
                yield from self._part(kind, self._path(join_path(path, one)))
        except InputError:
            raise
        except Exception as error:  # wrong types in the file; MemoryError: deep nesting in a key
            raise self._error(
                f"its router in {path or '.'!r} has no usable route for a {role} "
                f"({first_line(error)})",
                "give a router with a route for 'query' and one for 'document'",
            ) from None

    def _path(self, path: object) -> str:
        pure = PurePosixPath(str(path))
        if pure.is_absolute() or ".." in pure.parts:
            raise self._error(f"its path {shorten(path)} is outside its folder", "correct it")
        return "" if str(pure) == "." else str(pure)

    def _kind(self, path: object, file: str) -> str:
        """Return the type of a module. Raises InputError for one that is not of the library."""
        kind = str(path).rpartition(".")[2]
        if not str(path).startswith(LIBRARY):
            raise self._error(f"its {file} names {path}, custom code, which genir does not run")
        if kind not in (*NETWORKS, *LAYERS, *ROUTERS, "Dropout"):
            raise self._error(f"its {file} adds a {kind} layer, which genir does not support")
        return kind

    def _part(self, kind: str, path: str) -> Iterator[str]:
        """Yield the id of a part, its folder and type, after reading it."""
        name = f"{path}:{kind}"
        if kind == "Dropout":  # has no effect in inference
            return
        if name not in self.parts:
            self.parts[name] = self._read(kind, path)
        yield name
        if kind == "StaticEmbedding":  # it is the mean of the vectors of the tokens
            mean = f"{name}:mean"
            self.parts[mean] = EncoderPart(type="Pooling")
            yield mean

    def _read(self, kind: str, path: str) -> EncoderPart:
        if kind == "StaticEmbedding":
            return EncoderPart(type="StaticEmbedding", folder=path)
        if kind == "Transformer":
            length, lower = transformer_settings(self.name, self.root, path)
            return EncoderPart(type="Transformer", folder=path, length=length, lower_case=lower)
        config = self._json(path, "config.json")
        if kind == "Pooling":
            config = self._pooling(config, path)
        try:
            CONFIGS[kind].model_validate(config or {})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise self._error(
                f"{join_path(path, 'config.json')} sets {key} = {shorten(first['input'])}, which "
                f"genir does not support ({first['msg']})"
            ) from None
        return EncoderPart(type=cast(Any, kind), folder=path, config=config or {})

    def _pooling(self, config: dict[str, Any] | None, path: str) -> dict[str, Any]:
        if config is None:
            file = join_path(path, "config.json")
            raise self._error(f"it has no {file}, which defines the pooling", "restore the file")
        others = config.keys() - LEGACY_MODES - {"word_embedding_dimension", "embedding_dimension"}
        kept = {key: config[key] for key in others if key != "pooling_mode"}
        return {"pooling_mode": pooling_modes(config), **kept}

    def _json(self, path: str, file: str) -> dict[str, Any] | None:
        return read_json(self.root, join_path(path, file), dict)


class _Route(nn.Module):
    """Marks features with the name of a route."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        return features | {"route": self.name}


def resolve_route(structure: dict[str, Any], parameters: dict[str, Any], role: Role) -> str:
    """Return the name of the route that a router takes for texts of a role.

    Raises:
        ValueError: There is none.
    """
    from sentence_transformers.base.modules import Router

    mappings = {literal_eval(key): route
                for key, route in (parameters.get("route_mappings") or {}).items()}  # fmt: skip
    router = Router(
        {name: [cast(Any, _Route(name))] for name in structure},
        parameters.get("default_route"),
        parameters.get("allow_empty_key", True),
        mappings,
    )
    return str(router({}, task=role, modality="text")["route"])


def pooling_modes(config: dict[str, Any]) -> list[Any]:
    """Return the pooling modes in a pooling layer's configuration, in either format."""
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [mode for key, mode in LEGACY_MODES.items() if config.get(key)] or "mean"
    return list(mode) if isinstance(mode, list) else [mode]
