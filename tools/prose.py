"""The sentences of a file, and how their words are counted: one rule for the linter and for the measures.

What is read: paragraphs, list items and table cells of Markdown; comments of YAML; docstrings, comments, help texts and
messages of Python; the text of HTML and Markdown templates. What is left out: code, formulas on lines of their own,
headings, links.

A sentence ends at `.`, `!` or `?` before white space and anything but a small letter, or where its paragraph, list item
or cell ends. A word is what stands between white space and has a letter or a digit in it; `code`, a formula or a
placeholder of a message counts as one.
"""

from __future__ import annotations

import ast
import html
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|et al|eq|vs|cf|no)\.", flags=re.IGNORECASE)
SECTIONS = ("Args:", "Returns:", "Raises:", "Attributes:", "Yields:", "Examples:", "Example:", "Note:")
MESSAGES = ("help", "description")  # keyword arguments whose values users read
SPEAKING = ("print", "info", "warning", "error")  # methods whose arguments users read
BLOCK_TAGS = (
    r"</?(?:p|li|td|th|tr|h[1-6]|div|section|summary|details|caption|figcaption|title|label|option|pre)\b[^>]*>"
)
PRAGMA = r"#\s*(?:fmt|noqa|type|pragma|mypy)\b"  # comments that speak to tools
CODE = "`x`"


@dataclass(frozen=True)
class Block:
    """A paragraph, list item, table cell, comment or docstring part.

    Attributes:
        line: number of its first line, from 1.
        text: its words in one line.
        is_cell: whether it stands in a table, where a few words are no sentence.
    """

    line: int
    text: str
    is_cell: bool = False

    def sentences(self) -> list[str]:
        """Its sentences by the rule of this module."""
        text = ABBREVIATIONS.sub(r"\1", self.text).replace("...", "…")
        return [part for part in re.split(r"(?<=[.!?])[\"')\]*_]*\s+(?=[^a-z\s])", text) if count_words(part)]


def count_words(text: str) -> int:
    """Words of a text.

    Args:
        text: a sentence, or more.

    Returns:
        Number of words.

    >>> count_words("The loss – `T² · KL` – fell by 0.5 %.")
    8
    """
    one_word_each = re.sub(r"`[^`]*`|\$[^$]*\$", CODE, text)
    return sum(bool(re.search(r"\w", part)) for part in one_word_each.split())


def read_blocks(path: Path) -> list[Block]:
    """The blocks of a file.

    Args:
        path: Markdown, YAML or Python file.

    Returns:
        In the order of the file.
    """
    reader = next(reader for ending, reader in READERS.items() if path.name.endswith(ending))
    return sorted(reader(path.read_text(encoding="utf-8")), key=lambda block: block.line)


def fill_template(text: str) -> str:
    """Put a placeholder where a Jinja template has an expression, and drop its statements.

    Args:
        text: content of the template.

    Returns:
        HTML or Markdown with as many lines.
    """
    return re.sub(r"\{\{.*?\}\}", CODE, _drop(r"\{#.*?#\}|\{%.*?%\}", text), flags=re.DOTALL)


def _drop(pattern: str, text: str) -> str:
    return re.sub(pattern, lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)


def read_html(text: str) -> Iterator[Block]:
    """Texts of HTML, one for each element that begins a line of its own.

    Args:
        text: content of the page.

    Yields:
        One block each.
    """
    visible = _drop(r"<(script|style)\b.*?</\1>", text)
    line = 1
    for part in re.split(f"({BLOCK_TAGS})", visible):
        words = html.unescape(re.sub(r"<[^>]*>", "", part))
        if words.strip():
            yield Block(line + len(part) - len(part.lstrip("\n")), " ".join(words.split()))
        line += part.count("\n")


def read_markdown(text: str) -> Iterator[Block]:
    """Paragraphs, list items and table cells of Markdown.

    Args:
        text: content of the file.

    Yields:
        One block each.
    """
    stack: list[str] = []
    line = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.nesting == 1:
            stack.append(token.type)
        elif token.nesting == -1:
            stack.pop()
        line = token.map[0] + 1 if token.map else line
        if token.type == "inline" and "heading_open" not in stack:
            words = _inline_text(token)
            if not re.fullmatch(r"\${2}.*\${2}", words, flags=re.DOTALL):
                yield Block(line, " ".join(words.split()), is_cell="table_open" in stack)


def _inline_text(token: Token) -> str:
    parts = []
    for child in token.children or ():
        if child.type == "code_inline":
            parts.append(f"`{child.content}`")
        elif child.type == "text":
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return "".join(parts)


def read_yaml_comments(text: str) -> Iterator[Block]:
    """Comments of YAML; commands in them, which are indented, are left out.

    Args:
        text: content of the file.

    Yields:
        One block for each run of comment lines, and for each comment behind a value.
    """
    yield from _comments(
        (number, line.partition("#")[0].strip() == "", line.partition("# ")[2])
        for number, line in enumerate(text.splitlines(), start=1)
        if "# " in line
    )


def read_python(text: str) -> Iterator[Block]:
    """Docstrings, comments, help texts and error messages of Python.

    Args:
        text: content of the file.

    Yields:
        One block for each paragraph or entry of a docstring, run of comment lines, and message.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (docstring := ast.get_docstring(node)):
            yield from read_docstring(docstring, first_line=node.body[0].lineno)
        elif isinstance(node, ast.Raise):
            yield from _messages(node)
        elif isinstance(node, ast.keyword) and node.arg in MESSAGES:
            yield from _messages(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SPEAKING:
            for argument in node.args:
                yield from _messages(argument)
    yield from _comments(_python_comments(text))


def _python_comments(text: str) -> Iterator[tuple[int, bool, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match(PRAGMA, token.string):
            comment = re.split(PRAGMA, token.string)[0].removeprefix("#").removeprefix(" ")
            yield token.start[0], not token.line[: token.start[1]].strip(), comment


def read_docstring(docstring: str, *, first_line: int) -> Iterator[Block]:
    """Paragraphs of a Google-style docstring, and the entries of its sections.

    Args:
        docstring: cleaned of its indentation.
        first_line: its line in the file.

    Yields:
        One block each, without doctests.
    """
    words: list[str] = []
    start, in_doctest = first_line, False
    for number, line in enumerate([*inspect.cleandoc(docstring).splitlines(), ""], start=first_line):
        in_doctest = line.lstrip().startswith(">>>") or (in_doctest and bool(line.strip()))
        entry = re.match(r"    \*{0,2}\w+: (.*)", line)
        columns = re.match(r"\S+ {2,}(\S.*)", line)  # a line of a table of names and meanings
        if words and (entry or columns or in_doctest or not line.strip() or line.strip() in SECTIONS):
            yield Block(start, " ".join(words))
            words = []
        if in_doctest or not line.strip() or line.strip() in SECTIONS:
            continue
        start = start if words else number
        words.append((entry or columns or re.match(r"\s*(.*)", line))[1])


def _messages(node: ast.AST) -> Iterator[Block]:
    inside_formatted: set[ast.AST] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.JoinedStr):
            inside_formatted.update(ast.walk(child))
            parts = [part.value if isinstance(part, ast.Constant) else CODE for part in child.values]
            yield Block(child.lineno, "".join(map(str, parts)))
        elif isinstance(child, ast.Constant) and isinstance(child.value, str) and child not in inside_formatted:
            yield Block(child.lineno, child.value)


def _comments(comments: Iterator[tuple[int, bool, str]]) -> Iterator[Block]:
    words: list[str] = []
    start = last = 0
    for number, alone, comment in comments:
        if words and (not alone or number != last + 1 or comment.startswith(" ")):
            yield Block(start, " ".join(words))
            words = []
        if not alone:
            yield Block(number, comment.strip())
        elif not comment.startswith(" "):
            start, last = (start, number) if words else (number, number)
            words.append(comment.strip())
    if words:
        yield Block(start, " ".join(words))


READERS = {
    ".md": read_markdown,
    ".yaml": read_yaml_comments,
    ".py": read_python,
    ".html.j2": lambda text: read_html(fill_template(text)),
    ".md.j2": lambda text: read_markdown(fill_template(text)),
}
