"""Read and write the YAML of recipes and sweeps: YAML 1.2, in which `5e-5` is a number and `no` is a text."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from innerdistill.support.messages import get_first_line, shorten_value

MAX_BYTES, MAX_VALUES = 1_000_000, 100_000  # limits for a recipe

# Numbers are written as in JSON. So `007` and `2024-01-01` stay the texts that they are in a data file.
PLAIN = re.compile(
    r"""
      (?P<null>  ~ | null | Null | NULL | )
    | (?P<bool>  true | True | TRUE | false | False | FALSE )
    | (?P<int>   [-+]? (?: 0 | [1-9][0-9]* ) )
    | (?P<float> [-+]? (?: 0 | [1-9][0-9]* ) (?: \.[0-9]* )? (?: [eE][-+]?[0-9]+ )?
               | \.[0-9]+ (?: [eE][-+][0-9]+ )?
               | [-+]? \.(?: inf | Inf | INF ) | \.(?: nan | NaN | NAN ) )
    | (?P<merge> << )
    """,
    re.VERBOSE,
)
# Texts that may stand without quotes, and those of them that readers of YAML 1.1 take for something else.
SIMPLE = re.compile(r"[\w/.][\w /.,;()'%+=-]*")
OTHER_IN_YAML_1_1 = re.compile(r"[._]?[0-9].* | y | n | yes | no | on | off", re.VERBOSE | re.IGNORECASE)


class _Resolver(VersionedResolver):
    """Which type a value without quotes has."""

    processing_version: ClassVar[tuple[int, int]] = (1, 2)  # whatever a %YAML line says

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0] and (match := PLAIN.fullmatch(value)):
            return Tag(suffix=f"tag:yaml.org,2002:{match.lastgroup}")
        return super().resolve(kind, value, (False, True))


class _Representer(SafeRepresenter):
    """Quotes every text that might be read as something else."""

    def represent_str(self, data: str) -> Any:
        style: str | None = "'"
        if re.search(r"[\n\r\x85\u2028\u2029]", data):  # single quotes fold line breaks
            style = '"'
        elif SIMPLE.fullmatch(data) and not OTHER_IN_YAML_1_1.fullmatch(data):
            style = None  # none, unless `_Resolver` takes it for another type
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


class _Composer(Composer):
    """Checks a document before anything unfolds its aliases."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and _count_values(node, {}) > MAX_VALUES:
            raise ValueError(f"its references unfold to more than {MAX_VALUES:,} values")
        return node


def _count_values(node: Node, counted: dict[int, int]) -> int:
    """Number of values under a node; those behind an alias count wherever it stands.

    No key may occur twice, and no text may hold what UTF-8 cannot write.
    """
    if id(node) not in counted:
        counted[id(node)] = MAX_VALUES + 1  # a node that holds itself
        parts: list[Node] = []
        if isinstance(node, SequenceNode):
            parts = node.value
        elif isinstance(node, MappingNode):
            _refuse_equal_keys(node)
            parts = [part for pair in node.value for part in pair]
        elif any("\ud800" <= character <= "\udfff" for character in node.value):
            raise ConstructorError(None, None, f"half a character, {shorten_value(node.value)}", node.start_mark)
        counted[id(node)] = 1 + sum(_count_values(part, counted) for part in parts)
    return counted[id(node)]


def _refuse_equal_keys(mapping: MappingNode) -> None:
    """Refuse a key that occurs twice, also as `1` and `"1"`, which is one layer."""
    known: set[str] = set()
    for key, _ in mapping.value:
        if isinstance(key, ScalarNode):
            if key.value in known:
                problem = f"the key {shorten_value(key.value)} occurs twice"
                raise ConstructorError(None, None, problem, key.start_mark)
            known.add(key.value)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a recipe or a sweep.

    Args:
        path: YAML file.

    Returns:
        Its content, unchecked.

    Raises:
        ValueError: the file cannot be read, is not valid YAML, or is not a mapping.
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
        where: file or option that the text comes from, for error messages.

    Returns:
        The content as plain Python data.

    Raises:
        ValueError: not valid YAML, or larger than any recipe.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Composer = _Resolver, _Composer
    try:
        return yaml.load(text)
    except RecursionError:
        raise ValueError(f"{where}: too deeply nested.") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or get_first_line(error)
        raise ValueError(f"{where}:{line} not valid YAML ({reason}).") from None
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        AssertionError,
    ) as error:  # from a tag such as !!bool maybe
        raise ValueError(f"{where}: not valid YAML ({get_first_line(error)}).") from None


def write_yaml(content: Any, *, one_line: bool = False) -> str:
    r"""Write YAML.

    Args:
        content: plain data; keys are written in their order.
        one_line: whether to write everything in one line, as the value of an override.

    Returns:
        Text that `parse_yaml` reads as the same content.

    >>> write_yaml({"label": "1e5", "rate": 5e-5}, one_line=True)
    "{label: '1e5', rate: 5e-05}\n"
    """
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Representer, yaml.default_flow_style = _Resolver, _Representer, one_line
    yaml.width = sys.maxsize  # a text is never wrapped
    yaml.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()
