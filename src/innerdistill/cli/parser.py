"""The options of every verb of the command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

import innerdistill
from innerdistill.recipe.recipe import Recipe
from innerdistill.support.messages import shorten_value, suggest_name
from innerdistill.sweep.declaration import TUNING

DESCRIPTION = """\
Distil a fine-tuned encoder into a student with half its layers, from its
internal representations."""
STEPS = """\
From your data to a student:
  innerdistill init reviews.csv --teacher my-model    write recipe.yaml
  innerdistill plan recipe.yaml                       check it, train nothing
  innerdistill distill recipe.yaml                    train the student
Or without a file, with every key on the command line:
  {example}
`innerdistill VERB --help` explains a verb."""
WITHOUT_FILE = "Without a recipe file, every key is given on the command line:\n  {example}"
# The fewest keys that a verb runs with: the label column is called `label`, and everything else has a default.
SHORTEST = "innerdistill {verb} teacher.{kind}=my-model data.train=my.csv data.text=text"
OVERRIDE = re.compile(r"\w+(\.\w+)*=")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line.

    Args:
        arguments: words of the command line; by default those of this process.

    Returns:
        `verb`, the name of the verb, and the values of its options.
    """
    parser = build_parser()
    _check_verb(parser, sys.argv[1:] if arguments is None else arguments)
    options, others = parser.parse_known_args(arguments)
    # argparse takes the overrides only in one piece. Those after an option are left over.
    if hasattr(options, "overrides") and not any(word.startswith("-") for word in others):
        options.overrides += others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    if hasattr(options, "recipe"):
        _separate_recipe(options)
    return options


def _separate_recipe(options: argparse.Namespace) -> None:
    """Find out whether the first word is a file or an override. Without a file, the recipe is an empty mapping."""
    words = [*([] if options.recipe is None else [options.recipe]), *options.overrides]
    # os.path, since Path.is_file raises for a value that is longer than any name of a file.
    has_file = bool(words) and (os.path.isfile(words[0]) or OVERRIDE.match(words[0]) is None)  # noqa: PTH113
    options.recipe, options.overrides = (words[0], words[1:]) if has_file else ({}, words)


def write_example(verb: str) -> str:
    """Write the shortest command that needs no recipe file.

    Args:
        verb: a verb that takes a recipe.

    Returns:
        The command.
    """
    return SHORTEST.format(verb=verb, kind="base" if verb == "finetune" else "path")


def _check_verb(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Suggest the nearest verb for one that is not known; argparse would only list them all."""
    known = parser.get_default("verbs")
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in known:
        parser.error(f"unknown verb {shorten_value(verb)}. {suggest_name(verb, known, kind='verbs')}")


def _parse_block(word: str) -> int | str:
    try:
        return word if word == TUNING else int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected seeds of teachers, or {TUNING}; got {shorten_value(word)}"
        ) from None


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(
        prog="innerdistill",
        description=DESCRIPTION,
        epilog=STEPS.format(example=write_example("distill")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"innerdistill {innerdistill.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, description: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=description, description=description)

    _add_init_options(verb("init", "write a commented recipe for a data file and a model"))
    for name, description in (
        ("plan", "print sizes, parts and time of a recipe or a sweep without training"),
        ("finetune", "fine-tune the recipe's teacher.base as a teacher"),
        ("distill", "distil a student and write its report"),
        ("evaluate", "score a student and its teacher"),
    ):
        added = verb(name, description)
        added.formatter_class = argparse.RawDescriptionHelpFormatter
        added.epilog = WITHOUT_FILE.format(example=write_example(name))
        files = "YAML file of a recipe or a sweep" if name == "plan" else "YAML file"
        added.add_argument("recipe", nargs="?", help=f"{files}; may be left out if key=value says everything")
        added.add_argument("overrides", nargs="*", metavar="key=value", help="override, such as schedule.name=pid")
        if name == "evaluate":
            added.add_argument("--model", help="model folder (default: model/ in the recipe's output)")
    added = verb("predict", "predict labels, scores or tags for a file of texts")
    added.add_argument("model", help="model folder or run folder")
    added.add_argument("file", help="CSV, TSV, JSON lines, Parquet or CoNLL file")
    added.add_argument(
        "--text", nargs="+", metavar="COLUMN", help="text or word column, or two (default: as in training)"
    )
    added.add_argument("--skip-empty", action="store_true", help="no prediction for empty, blank or null texts")
    added.add_argument("--output", required=True, help="CSV, JSON lines or Parquet file to write")
    added = verb("speed", "measure size and latency of models")
    added.add_argument("models", nargs="+", help="model folder, or run folder for its teacher and student")
    added.add_argument("--batch-size", type=int, default=1, help="examples per batch (default: 1)")
    added.add_argument("--length", type=int, default=32, help="tokens per example (default: 32)")
    added.add_argument("--repeats", type=int, default=30, help="timed batches per model (default: 30)")
    added = verb("export", "export a model to ONNX in float32 and int8, and compare the files with it")
    added.add_argument("model", help="run folder or model folder")
    _add_sweep_options(verb("sweep", "run methods x tasks x settings x seeds and compare them"))
    verb("report", "write report.html of a run or a sweep").add_argument("run", help="run or sweep folder")
    added = verb("keys", "explain every key of a recipe or a sweep")
    added.add_argument("of", nargs="?", choices=["recipe", "sweep"], default="recipe", help="default: recipe")
    added = verb("families", "list families of models: what can be learned from them, and what was tried")
    added.add_argument("family", nargs="?", help="model_type of a config.json (default: all that were tried)")
    added = verb("submit", "predict GLUE's test files and zip them for the GLUE server")
    added.add_argument("runs", nargs="+", metavar="run", help="run folders, one per task, or a sweep folder")
    for option, kind, words in (
        ("--method", str, "method of the sweep"),
        ("--seed", int, "seed of the sweep (default: its first)"),
    ):
        added.add_argument(option, type=kind, help=words)
    added.add_argument("--output", required=True, help="archive to write, such as submission.zip")
    _add_clean_options(verb("clean", "list the caches with their size and last use, and delete entries by name"))
    parser.set_defaults(verbs=list(verbs.choices))
    return parser


def _add_init_options(added: argparse.ArgumentParser) -> None:
    added.add_argument("file", help="training file: CSV, TSV, JSON lines, Parquet or CoNLL")
    models = added.add_mutually_exclusive_group(required=True)
    models.add_argument("--teacher", metavar="MODEL", help="fine-tuned model: folder or name")
    models.add_argument("--base", metavar="MODEL", help="pre-trained model to fine-tune first: folder or name")
    added.add_argument("--text", nargs="+", default=[], metavar="COLUMN", help="text column, or two (default: guessed)")
    added.add_argument("--label", metavar="COLUMN", help="label column (default: guessed)")
    added.add_argument("--validation", metavar="FILE", help="file to score on (default: a tenth of the training file)")
    added.add_argument("--test", metavar="FILE", help="test file; its labels are optional")
    added.add_argument("--unlabelled", metavar="FILE", help="texts without labels, which the teacher labels")
    added.add_argument(
        "-o", "--output-file", default="recipe.yaml", metavar="FILE", help="recipe to write (default: recipe.yaml)"
    )


def _add_clean_options(added: argparse.ArgumentParser) -> None:
    added.add_argument("--folder", default=Recipe().teacher.folder, help="teacher.folder (default: %(default)s)")
    added.add_argument("--delete", nargs="+", metavar="NAME", default=[], help="names of entries, as they are listed")


def _add_sweep_options(added: argparse.ArgumentParser) -> None:
    added.add_argument("sweep", help="YAML file")
    added.add_argument("overrides", nargs="*", metavar="key=value", help="such as recipe.data.path=/data/CoLA")
    added.add_argument("--workers", type=int, default=1, help="runs at a time; they share the CPU (default: 1)")
    parts = added.add_mutually_exclusive_group()
    parts.add_argument(
        "--block",
        type=_parse_block,
        nargs="+",
        metavar="SEED",
        default=[],
        help="run the cells of these teachers only, or `tuning`: the tuning runs",
    )
    parts.add_argument(
        "--gather", nargs="+", metavar="FOLDER", default=[], help="copy the blocks of other folders, and run nothing"
    )
