"""Registries: variants of a recipe section by name, of genir and of other packages.

A package adds a variant through an entry point. Its name is the variant's name in a recipe:

    [project.entry-points."genir.schemes"]
    hashed-codes = "my_package.schemes:HashedCodes"
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import TypeVar, cast

from genir.errors import InputError, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, type[T]]):
    """Classes by name. The class of an entry point is imported when it is first looked up.

    Iterating yields the names of both kinds, and imports nothing.
    """

    def __init__(
        self,
        group: str,
        key: str,
        base: type,
        classes: Iterable[type[T]],
        attribute: str = "name",
        lazy: Mapping[str, str] | None = None,
    ) -> None:
        """Make a registry of genir's own classes.

        Args:
            group: The group of entry points, for example "genir.schemes".
            key: The section and key of a recipe that choose one: "[identifiers] scheme".
            base: Class that each entry point must be a subclass of.
            classes: The classes that come with genir.
            attribute: Class attribute that holds the name.
            lazy: Further classes that come with genir, by name: "module:Class", imported when
                looked up.
        """
        self.group = group
        self._section, self._key = key.split()
        self._base = base
        self._attribute = attribute
        self._own: dict[str, type[T]] = {getattr(one, attribute): one for one in classes}
        self._lazy = {name: EntryPoint(name, value, group) for name, value in (lazy or {}).items()}

    def __iter__(self) -> Iterator[str]:
        names = (point.name for point in self._points())
        return iter(dict.fromkeys([*self._own, *self._lazy, *names]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return (
            name in self._own
            or name in self._lazy
            or any(point.name == name for point in self._points())
        )

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of a name.

        Raises:
            KeyError: The name is unknown.
            InputError: A name that is declared twice, and an entry point that cannot be used.
        """
        points = [point for point in self._points() if point.name == name]
        own = name in self._own or name in self._lazy
        sources = [*(["genir"] if own else []), *map(_package, points)]
        if len(sources) > 1:
            raise InputError(
                f"{self._where(name)}: {' and '.join(sources)} have this name; uninstall "
                f"{sources[-1]}, or rename its entry point of {self.group}"
            )
        if points:
            return self._load(points[0])
        return cast(type[T], self._lazy[name].load()) if name in self._lazy else self._own[name]

    def find(self, name: str) -> type[T]:
        """Return the class of a name. Raises InputError with the nearest name where it is unknown.

        Also raises InputError as `__getitem__` does.
        """
        if name not in self:
            hint = did_you_mean(name, self)
            raise InputError(f"{self._section}: unknown {self._key} {name!r}{hint}")
        return self[name]

    def _points(self) -> tuple[EntryPoint, ...]:
        return tuple(_entry_points(tuple(sys.path)).select(group=self.group))

    def _where(self, name: str) -> str:
        return f"{self._section} {self._key} = {name!r}"

    def _load(self, point: EntryPoint) -> type[T]:
        where = f"{self._where(point.name)}: the entry point {point.value!r} of {_package(point)}"
        try:
            found = point.load()
        except Exception as error:  # whatever the package's code raises
            raise InputError(
                f"{where} cannot be imported ({type(error).__name__}: {error}); update or "
                "uninstall the package"
            ) from error
        if not (isinstance(found, type) and issubclass(found, self._base)):
            raise InputError(
                f"{where} is no {self._base.__name__}; subclass "
                f"{self._base.__module__}.{self._base.__name__}"
            )
        own = getattr(found, self._attribute, None)
        if own != point.name:
            raise InputError(
                f"{where} has {self._attribute} = {own!r}; give both the same name, by which a "
                "model folder finds the class again"
            )
        return cast(type[T], found)


@lru_cache(maxsize=32)
def _entry_points(path: tuple[str, ...]) -> EntryPoints:
    """Return all entry points. path: `sys.path`, so that a change of it is noticed."""
    return cast(EntryPoints, entry_points())  # before Python 3.12 also a dict


def _package(point: EntryPoint) -> str:
    return "an unnamed package" if point.dist is None else f"the package {point.dist.name!r}"
