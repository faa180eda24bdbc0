"""YAML of recipes and sweeps: read without evaluating anything, written so that it is read as it was."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from innerdistill.support.messages import get_first_line, shorten_value

MAX_BYTES, MAX_NODES = 1_000_000, 100_000  # of a recipe


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 5e-5 as the number it is (YAML 1.1 wants 5.0e-5), refuses keys that occur twice, and weighs
    what references would unfold to before it unfolds them.
    """

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _weigh(node, {}) > MAX_NODES:
            raise ValueError(f"its references unfold to more than {MAX_NODES:,} values")
        return node


class _Dumper(yaml.SafeDumper):
    """SafeDumper that puts quotes around a text which the loader would take for a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def _weigh(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values under a node, those behind a reference counted wherever it stands.

    No key may occur twice, and no text hold what UTF-8 cannot write.
    """
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # of a node that holds itself
        parts = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.ScalarNode) and any("\ud800" <= character <= "\udfff" for character in node.value):
            problem = f"half a character, {shorten_value(node.value)}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                parts += [key, value]
                if isinstance(key, yaml.ScalarNode) and key.value in seen and not key.tag.endswith(":merge"):
                    problem = f"the key {key.value!r} occurs twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        known[id(node)] = 1 + sum(_weigh(part, known) for part in parts)
    return known[id(node)]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe or a sweep.

    Args:
        path: of the file.

    Returns:
        Its content, unchecked.

    Raises:
        ValueError: it cannot be read, is no YAML, or no mapping.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: the recipe cannot be read (not a file).")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path}: larger than {MAX_BYTES // 10**6} MB, which no recipe is.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"{path}: the recipe cannot be read ({reason}).") from None
    content = parse_yaml(text, where=str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a recipe is a mapping of keys to values, got {type(content).__name__}.")
    return content


def parse_yaml(text: str, *, where: str) -> Any:
    """Read YAML.

    Args:
        text: YAML.
        where: it comes from, for what is said of a mistake.

    Returns:
        What it says.

    Raises:
        ValueError: it is no YAML, or more than a recipe can be.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except RecursionError:
        raise ValueError(f"{where}: too deeply nested.") from None
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # the last three of a tag such as !!bool maybe
        raise ValueError(f"{where}: not valid YAML ({get_first_line(error)}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or get_first_line(error)
        raise ValueError(f"{where}:{line} not valid YAML ({reason}).") from None


def write_yaml(content: Any, *, one_line: bool = False) -> str:
    r"""Write YAML.

    Args:
        content: of plain data, its keys in the order in which they are to stand.
        one_line: without line breaks, as the value of an override.

    Returns:
        Text that `parse_yaml` reads as the same content.

    >>> write_yaml({"label": "1e5", "rate": 5e-5}, one_line=True)
    "{label: '1e5', rate: 5.0e-05}\n"
    """
    options: dict[str, Any] = {"default_flow_style": True, "width": float("inf")} if one_line else {}
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options))
