"""Measure the layout and the language of a checkout, so that two can be compared.

python tools/measure_house.py OLD_CHECKOUT NEW_CHECKOUT --names before after

What each measure counts:

- Rooms: folders and Python files directly in src/innerdistill, without `__init__.py`.
- Connected pairs: pairs of rooms of which one imports the other, wherever in a file the import stands.
- Upward imports: imports of a room that comes later in the list ROOMS of the checkout's tests/test_layout.py.
- Circles: rooms that can be reached from themselves over imports of others.
- Code lines: lines that hold more than a comment or a docstring.
- Verbs: functions and methods whose first word is in verbs.txt. Left out are properties, dunder methods, and names that
  torch and transformers prescribe (`forward`, `backward`, `on_...`).
- Words and sentences: counted as `prose` says. Words include the cells of tables, sentences do not.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lint_prose import LONGEST
from prose import Block, count_words, read_markdown

PACKAGE = "innerdistill"
LARGEST = 250  # code lines of a file
PROPERTIES = {"property", "cached_property"}
PRESCRIBED = {"forward", "backward", "setup_context", "_init_training_state"}
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
VERBS = set(Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8").split())


def main() -> None:
    """Print a table of measures, and one of the documents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="+", type=Path, help="folders of checkouts")
    parser.add_argument("--names", nargs="*", default=[], help="headings of the columns, one per checkout")
    options = parser.parse_args()
    names = options.names or [str(path) for path in options.checkouts]
    measures = [measure_code(path) for path in options.checkouts]
    print_table(["measure", *names], [[name, *(measured[name] for measured in measures)] for name in measures[0]])
    print()
    documents = [measure_documents(path) for path in options.checkouts]
    rows = []
    for page in sorted({page for measured in documents for page in measured}):
        rows.append([page, *(measured.get(page, "–") for measured in documents)])
    print_table(["document: words; words per sentence; sentences over 30", *names], rows)


def measure_code(checkout: Path) -> dict[str, str]:
    """The layout and the code of a package.

    Args:
        checkout: folder of the project.

    Returns:
        Values by name, as they are printed.
    """
    source = checkout / "src" / PACKAGE
    files = {path: path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py"))}
    rooms = sorted({room for path in files if (room := room_of(path, source))})
    imports = {pair for path, text in files.items() for pair in find_imports(text, room_of(path, source), rooms)}
    order = read_order(checkout / "tests" / "test_layout.py")
    upward = [pair for pair in imports if set(pair) <= set(order) and order.index(pair[0]) < order.index(pair[1])]
    code_lines = {path: count_code_lines(text) for path, text in files.items()}
    trees = [ast.parse(text) for text in files.values()]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    names = [name for node in functions if (name := free_name(node))]
    verbs = [name for name in names if first_word(name) in VERBS]
    comprehensions = sum(isinstance(node, COMPREHENSIONS) for tree in trees for node in ast.walk(tree))
    total = sum(code_lines.values())
    lengths = [node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno]
    return {
        "rooms": str(len(rooms)),
        "pairs of rooms of which one imports the other": str(len({frozenset(pair) for pair in imports})),
        "upward imports": str(len(upward)) if order else "no order",
        "rooms in circles": str(len(find_circles(imports))),
        "files": str(len(files)),
        "code lines": f"{total:,}",
        f"files over {LARGEST} code lines": str(sum(lines > LARGEST for lines in code_lines.values())),
        "functions": str(len(functions)),
        "lines of the median function, docstring included": f"{statistics.median(lengths):g}",
        "functions that begin with a verb": f"{100 * len(verbs) / len(names):.0f} % of {len(names)}",
        "comprehensions per 100 code lines": f"{100 * comprehensions / total:.1f}",
    }


def room_of(path: Path, source: Path) -> str:
    """The room that a file belongs to.

    Args:
        path: a file of the package.
        source: the package's folder.

    Returns:
        Name of the folder or file directly in the package; empty for the package's own `__init__.py`.
    """
    room = path.relative_to(source).parts[0].removesuffix(".py")
    return "" if room == "__init__" else room


def find_imports(text: str, room: str, rooms: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Other rooms that a file imports.

    Args:
        text: content of the file.
        room: its own room.
        rooms: names of all rooms.

    Yields:
        The file's room and the other one.
    """
    for node in ast.walk(ast.parse(text)):
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            modules = [f"{PACKAGE}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            parts = module.split(".")
            if room and parts[0] == PACKAGE and len(parts) > 1 and parts[1] in rooms and parts[1] != room:
                yield room, parts[1]


def find_circles(imports: Iterable[tuple[str, str]]) -> set[str]:
    """Rooms that can be reached from themselves.

    Args:
        imports: room, and a room that it imports.

    Returns:
        Names of the rooms.

    >>> sorted(find_circles([("a", "b"), ("b", "c"), ("c", "b")]))
    ['b', 'c']
    """
    reached: dict[str, set[str]] = {}
    for room, other in imports:
        reached.setdefault(room, set()).add(other)
    for _ in range(len(reached)):
        for others in reached.values():
            for other in tuple(others):
                others.update(reached.get(other, ()))
    return {room for room, others in reached.items() if room in others}


def read_order(test: Path) -> list[str]:
    """The order of the rooms that a checkout declares.

    Args:
        test: its tests/test_layout.py.

    Returns:
        Names of the rooms; empty if none is declared.
    """
    if not test.is_file():
        return []
    for node in ast.parse(test.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "ROOMS":
            return list(ast.literal_eval(node.value))
    return []


def count_code_lines(text: str) -> int:
    """Lines of a module that hold more than a comment or a docstring.

    Args:
        text: content of the file.

    Returns:
        Number of lines.
    """
    code: set[int] = set()
    docstrings: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.end_lineno:
            docstrings.update(range(node.lineno, node.end_lineno + 1))
    return len(code - docstrings)


def free_name(function: ast.FunctionDef) -> str:
    """Name of a function if its author could choose it.

    Args:
        function: its definition.

    Returns:
        The name; empty for properties and for names that Python or a library prescribes.
    """
    name = function.name
    decorators = {getattr(node, "id", getattr(node, "attr", "")) for node in function.decorator_list}
    prescribed = name.startswith(("__", "on_")) or name in PRESCRIBED or decorators & PROPERTIES
    return "" if prescribed else name


def first_word(name: str) -> str:
    """First word of a function's name.

    Args:
        name: in snake case.

    Returns:
        The word in small letters.

    >>> first_word("_write_tables")
    'write'
    """
    return name.lstrip("_").lower().partition("_")[0]


def measure_documents(checkout: Path) -> dict[str, str]:
    """Words and sentences of README and every page, by file name, since pages move.

    Args:
        checkout: folder of the project.

    Returns:
        Words, words per sentence and share of long sentences, as they are printed.
    """
    pages = [checkout / "README.md", checkout / "CONTRIBUTING.md", *sorted((checkout / "docs").rglob("*.md"))]
    measured = {}
    for page in filter(Path.is_file, pages):
        blocks = list(read_markdown(page.read_text(encoding="utf-8")))
        words = sum(count_words(block.text) for block in blocks)
        if sentences := list_sentences(block for block in blocks if not block.is_cell):
            lengths = [count_words(sentence) for sentence in sentences]
            long = sum(length > LONGEST for length in lengths) / len(lengths)
            measured[page.name] = f"{words:,}; {statistics.mean(lengths):.1f}; {100 * long:.0f} %"
    return measured


def list_sentences(blocks: Iterable[Block]) -> list[str]:
    """All sentences of a document.

    Args:
        blocks: its paragraphs and list items.

    Returns:
        Sentences.
    """
    return [sentence for block in blocks for sentence in block.sentences()]


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table.

    Args:
        header: one heading per column.
        rows: cells.
    """
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
