"""Check that documents, comments and docstrings are plain English: short sentences, and the words of the field.

python tools/lint_prose.py README.md docs recipes

A sentence has at most 30 words, counted as `prose` says. A rejected phrase is a phrase that no engineer of this field
uses; the message says what to write instead.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prose import READERS, Block, count_words, read_blocks

LONGEST = 30  # words of a sentence
REJECTED = {
    r"(?:go(?:es|ing)?|went) on (?:with|from|where|there|to)\b|\bgo(?:es)? on\b": "resume",
    r"as (?:its |the |their )?teachers? (?:does|do)\b|\bas teacher\b": "agreement with the teacher",
    r"\bplain(?:ly)? fine-tun|fine-tun\w+ (?:the same student )?plainly": "baseline, trained without distillation",
    r"\b(?:of|in) (?:8|16|32)(?: and of 8)? bits\b": "int8, bfloat16 or float32",
    r"\b(?:its|their|the|from the) inside\b(?! of (?:a|an|the) \w+ (?:folder|file))": "internal representations",
    r"\bprocessors?\b": "CPU",
    r"\b(?:kept|keeps?) (?:the |its )?(?:teacher'?s? )?(?:answers|targets|outputs|maps)\b": "cached teacher outputs",
    r"\bteachers?'?s? answers\b|\banswers of (?:the|a) teacher": "teacher outputs",
    r"\bmade again\b|\bmakes? it again\b|\bmade anew\b": "re-run, computed again, rebuilt",
    r"\bset by nothing\b": "not supported",
    r"\b(?:names|labels|order) (?:is|are) exchanged\b": "label order is swapped",
    r"\bbyte for byte\b|\bbit for bit\b|\b(?:to|with) the (?:very )?same bytes\b": "identical to the byte",
    r"\b\d+ wide\b|\bequal widths\b": "hidden size",
    r"\bmended\b": "fixed",
    r"\banswers? otherwise\b": "gives other outputs",
    r"\bthe way to convert\b": "how to convert",
    r"\bwhat (?:has|have) to be\b": "a noun",
    r"\bis put together\b": "is built",
    r"\bfalls? behind\b": "lag, become stale",
    r"(?-i:^of (?:the|its|an?|every|each|all|whose)\b)": "a noun and a unit, not only whose it is",
}


@dataclass(frozen=True)
class Fault:
    """A sentence to write anew.

    Attributes:
        path: the file.
        line: where the sentence's paragraph begins.
        complaint: what is wrong and what to do.
    """

    path: Path
    line: int
    complaint: str


def main() -> None:
    """Print faults, and the measures of what was read; exit with 1 if there are faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "paths", nargs="+", type=Path, help="files, or folders of Markdown, YAML, Python and template files"
    )
    parser.add_argument("--quiet", action="store_true", help="print the number of faults only")
    options = parser.parse_args()
    files = list(find_files(options.paths))
    faults = [fault for path in files for fault in find_faults(path, read_blocks(path))]
    for fault in faults:
        if not options.quiet:
            print(f"{fault.path}:{fault.line}: {fault.complaint}")
    print(f"{len(files)} files, {len(faults)} sentences to write anew.")
    sys.exit(1 if faults else 0)


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files to read.

    Args:
        paths: files and folders.

    Yields:
        Paths of files that `prose` can read.
    """
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            if file.name.endswith(tuple(READERS)):
                yield file


def find_faults(path: Path, blocks: Iterable[Block]) -> Iterator[Fault]:
    """Long sentences and rejected phrases.

    Args:
        path: the file.
        blocks: what it says.

    Yields:
        One fault each.
    """
    for block in blocks:
        for sentence in block.sentences():
            if (number := count_words(sentence)) > LONGEST:
                yield Fault(path, block.line, f"{number} words, at most {LONGEST}: {sentence[:60]} ...")
        spoken = re.sub(r"`[^`]*`", "`x`", block.text)
        for pattern, better in REJECTED.items():
            for match in re.finditer(pattern, spoken, flags=re.IGNORECASE):
                yield Fault(path, block.line, f"{match[0]!r}: write {better}")


if __name__ == "__main__":
    main()
