"""Gather plain texts and scored pairs for sentence encoders, from files that you have, and write them into sentences/.

    python examples/prepare_sentences.py --glue glue --sts sts

sentences/texts.csv   72,000 texts without labels: sentences of GLUE's CoLA, MRPC, QQP and RTE, and those of the demo
sentences/pairs.csv   pairs with a score of 0 to 5: the test files of STS 2012 to 2015
sentences/sick.csv    pairs with a score of 1 to 5: the test file of SICK

The folder glue/ has GLUE's folders. The folder sts/ has sts2012.tsv to sts2015.tsv, with a score and two sentences a
line, and SICK_test_annotated.txt. Texts that stand in a scored pair are left out of texts.csv.
"""

import argparse
import csv
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from prepare_demo import FOLDER as DEMO
from prepare_demo import write_csv

FOLDER, TEXTS = Path("sentences"), 72_000
COLUMNS = {  # of GLUE's files: names in the header, or positions where there is none
    "CoLA": (3,),
    "MRPC": ("#1 String", "#2 String"),
    "QQP": ("question1", "question2"),
    "RTE": ("sentence1", "sentence2"),
}
DEMO_FILES = ("train.csv", "tuning.csv", "more_texts.csv")
SICK = "SICK_test_annotated.txt"
Pair = tuple[str, str, str]  # two sentences and their score


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--glue", type=Path, default=Path("glue"), help="folder with CoLA, MRPC, QQP and RTE")
    parser.add_argument("--sts", type=Path, default=Path("sts"), help="folder with the scored pairs")
    options = parser.parse_args()
    pairs = [pair for year in range(2012, 2016) for pair in read_sts(options.sts / f"sts{year}.tsv")]
    sick = list(read_sick(options.sts / SICK))
    scored = {normalise(text) for pair in (*pairs, *sick) for text in pair[:2]}
    texts = select_texts([*read_glue(options.glue), *read_demo()], scored)
    FOLDER.mkdir(exist_ok=True)
    header = ("first", "second", "score")
    for name, lines in {
        "texts.csv": [("text",), *((text,) for text in texts)],
        "pairs.csv": [header, *pairs],
        "sick.csv": [header, *sick],
    }.items():
        write_csv(FOLDER / name, lines)
        print(f"  {FOLDER / name!s:<22} {len(lines) - 1:>6,} examples")


def select_texts(texts: Iterable[str], scored: set[str]) -> list[str]:
    """Select TEXTS different texts that stand in no scored pair, by the SHA-256 of the text.

    Args:
        texts: all texts.
        scored: texts of scored pairs, from `normalise`.

    Returns:
        Texts in the order of their hash.
    """
    different: dict[str, str] = {}
    for text in texts:
        words = normalise(text)
        if words and words not in scored:
            different.setdefault(words, text)
    return sorted(different.values(), key=lambda text: hashlib.sha256(text.encode()).hexdigest())[:TEXTS]


def normalise(text: str) -> str:
    """Reduce a text to its words in lower case, so that texts that differ by signs alone are equal.

    Args:
        text: any text.

    Returns:
        Its words with a space between them.
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def read_glue(folder: Path) -> Iterator[str]:
    """Read the texts of GLUE's training and development files.

    Args:
        folder: folder with a folder for each task.

    Yields:
        Texts.
    """
    for task, columns in COLUMNS.items():
        for name in ("train.tsv", "dev.tsv"):
            lines = read_lines(folder / task / name)
            header = None if isinstance(columns[0], int) else next(lines)
            places = [column if header is None else header.index(column) for column in columns]
            for line in lines:
                yield from (line[place] for place in places if place < len(line))


def read_demo() -> Iterator[str]:
    """Read the demo's texts that no student is scored on.

    Yields:
        Texts.
    """
    for name in DEMO_FILES:
        path = DEMO / name
        if not path.is_file():
            sys.exit(f"{path}: not found; run python examples/prepare_demo.py first.")
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row["sentence"]


def read_sts(path: Path) -> Iterator[Pair]:
    """Read the pairs of one year that have a score.

    Args:
        path: file of score, sentence and sentence.

    Yields:
        Pairs.
    """
    for line in read_lines(path):
        if len(line) >= 3 and line[0]:
            yield line[1], line[2], line[0]


def read_sick(path: Path) -> Iterator[Pair]:
    """Read the pairs of SICK.

    Args:
        path: file with a header line.

    Yields:
        Pairs.
    """
    lines = read_lines(path)
    header = next(lines)
    places = [header.index(name) for name in ("sentence_A", "sentence_B", "relatedness_score")]
    for line in lines:
        first, second, score = (line[place] for place in places)
        yield first, second, score


def read_lines(path: Path) -> Iterator[list[str]]:
    """Read a tab-separated file without quotes.

    Args:
        path: path of the file.

    Yields:
        Cells of each line.
    """
    if not path.is_file():
        sys.exit(f"{path}: not found. {__doc__.splitlines()[0]}")
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


if __name__ == "__main__":
    main()
