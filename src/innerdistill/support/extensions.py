"""Extensions: losses, schedules, metrics and model families that installed packages bring.

A package registers a name as a Python entry point in one of GROUPS; recipes and the command line then know the name.
Names are read from the metadata of the installed packages, so nothing is imported until a name is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TypeVar

T = TypeVar("T")
GROUPS = ("losses", "schedules", "metrics", "families")


class Registry(MutableMapping[str, T]):
    """Everything that a recipe can name of one kind: built-in entries, and those of installed packages.

    It reads like a dict. An entry of an installed package is imported when it is looked up; listing and testing names
    imports nothing. Setting an entry adds a built-in one for this process, for example in a notebook.

    >>> registry = Registry("losses", int, {"one": 1})
    >>> registry["one"], "two" in registry
    (1, False)
    """

    def __init__(self, group: str, kind: type[T], built_in: Mapping[str, T]) -> None:
        """Collect the built-in entries.

        Args:
            group: one of GROUPS; packages register in `innerdistill.GROUP`.
            kind: class of the entries.
            built_in: entries of innerdistill itself by name.
        """
        assert group in GROUPS, group
        self.group, self.kind = group, kind
        self._built_in = dict(built_in)

    @property
    def built_in(self) -> Mapping[str, T]:
        """The entries of innerdistill itself by name."""
        return MappingProxyType(self._built_in)

    def __getitem__(self, name: str) -> T:
        registered = find_entry_points(self.group).get(name, ())
        if len(registered) + (name in self._built_in) > 1:
            owners = ["innerdistill"] * (name in self._built_in) + [describe_package(point) for point in registered]
            raise ValueError(
                f"{self.group}: {name!r} is registered by {' and by '.join(owners)}; uninstall one of them, or rename "
                "its entry point."
            )
        return load_entry_point(registered[0], self.kind) if registered else self._built_in[name]

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in find_entry_points(self.group)

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        yield from (name for name in find_entry_points(self.group) if name not in self._built_in)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @contextmanager
    def extend(self, entries: Mapping[str, T]) -> Iterator[None]:
        """Add built-in entries for a while.

        Args:
            entries: entries by name.

        Yields:
            Nothing.

        Raises:
            ValueError: a name that is taken.
        """
        for name in entries:
            if name in self:
                raise ValueError(f"{self.group}: {name!r} is taken; choose another name.")
        self._built_in |= entries
        try:
            yield
        finally:
            for name in entries:
                del self._built_in[name]

    def __setitem__(self, name: str, entry: T) -> None:
        self._built_in[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._built_in[name]


@cache
def find_entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Read which names the installed packages register. Imports none of them.

    Args:
        group: one of GROUPS.

    Returns:
        Entry points by name: more than one where packages clash.
    """
    by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=f"innerdistill.{group}"), key=lambda point: (point.name, point.value)):
        by_name[point.name] = (*by_name.get(point.name, ()), point)
    return by_name


def load_entry_point(point: EntryPoint, kind: type[T]) -> T:
    """Import what a package registered.

    Args:
        point: entry point of an installed package.
        kind: class that the object must have.

    Returns:
        The object.

    Raises:
        ValueError: the import fails, or the object is of another class.
    """
    where = f"{point.group}: {point.name!r} ({point.value}) of the package {describe_package(point)}"
    try:
        entry = point.load()
    except Exception as error:
        raise ValueError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(entry, kind):
        raise ValueError(f"{where} is of the type {type(entry).__name__}; expected {kind.__name__}.")
    return entry


def describe_package(point: EntryPoint) -> str:
    """Name the package that registers an entry point.

    Args:
        point: entry point of an installed package.

    Returns:
        Name and version, for example `my-plugin 1.0`.
    """
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def find_packages(names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Find the packages that the names of a recipe come from, for the record of its run.

    Args:
        names: used names by group, for example `{"losses": ["cls_cosine", "hidden_l1"]}`.

    Returns:
        Package and version by name, without the built-in names: `{"losses.hidden_l1": "my-plugin 1.0"}`.
    """
    packages: dict[str, str] = {}
    for group, used in names.items():
        registered = find_entry_points(group)
        packages |= {f"{group}.{name}": describe_package(registered[name][0]) for name in used if name in registered}
    return packages
