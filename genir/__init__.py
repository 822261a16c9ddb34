"""genir: generative retrieval in Python.

    from genir import Retriever, evaluate, train

The names of `__all__` are imported when they are first used: `import genir` loads neither torch nor
transformers.
"""

TYPE_CHECKING = False  # the command line imports this module before it listens for signals
if TYPE_CHECKING:
    from genir.api import Evaluation, evaluate, train
    from genir.config import Recipe, load_recipe
    from genir.corpus.vectors import write_vectors
    from genir.retriever import Retriever
    from genir.types import Document, Hit, Qrel, Query

__version__ = "0.1.0"
__all__ = [
    "Document",
    "Evaluation",
    "Hit",
    "Qrel",
    "Query",
    "Recipe",
    "Retriever",
    "evaluate",
    "load_recipe",
    "train",
    "write_vectors",
]
_MODULES = {
    "genir.api": ("Evaluation", "evaluate", "train"),
    "genir.config": ("Recipe", "load_recipe"),
    "genir.corpus.vectors": ("write_vectors",),
    "genir.types": ("Document", "Hit", "Qrel", "Query"),
    "genir.retriever": ("Retriever",),
}


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
