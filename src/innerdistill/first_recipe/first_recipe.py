"""write_first_recipe: a recipe for a data file and a model, with what was found in them as comments.

Only the first rows of the file are read, and no weights.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from innerdistill.first_recipe.columns import describe_choice
from innerdistill.first_recipe.contents import list_entries
from innerdistill.first_recipe.entries import write_entries
from innerdistill.first_recipe.found import Found, examine
from innerdistill.first_recipe.request import Request
from innerdistill.first_recipe.sample import Sample
from innerdistill.recipe.loading import load_recipe
from innerdistill.recipe.yaml import parse_yaml
from innerdistill.run.preview import refuse_early
from innerdistill.support.files import open_whole_file
from innerdistill.support.messages import join_names, shorten_value


@dataclass(frozen=True)
class FirstRecipe:
    """What a recipe that was written was judged by.

    Attributes:
        findings: sentences on what was found in file and model.
        warnings: sentences on what the user should look at.
    """

    findings: tuple[str, ...]
    warnings: tuple[str, ...]


def write_first_recipe(sample: Sample, request: Request) -> FirstRecipe:
    """Write a recipe for a data file and a model. What a run would refuse early is refused here too.

    Args:
        sample: first rows of the data file, from `read_sample`.
        request: what the user says.

    Returns:
        What the recipe was judged by.

    Raises:
        ValueError: a file and a model that do not fit together, a missing file or column.
    """
    found = examine(sample, request)
    content = write_entries(_list_head(found, request), list_entries(found))
    recipe = load_recipe(parse_yaml(content, where=str(request.target)))
    refuse_early(recipe, writes=False)
    with open_whole_file(request.target) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return FirstRecipe(tuple(_list_findings(found)), tuple(found.list_warnings()))


def _list_head(found: Found, request: Request) -> list[str]:
    """Lines of the comment at the top."""
    file = shlex.quote(str(request.target))
    return [
        f"A recipe for {shorten_value(found.sample.path)[1:-1]} and {shorten_value(found.model.name)[1:-1]}.",
        "Read it from top to bottom and correct what is wrong. Then type:",
        f"  innerdistill plan {file}",
        "    shows stages, sizes and time, and trains nothing;",
        f"  innerdistill distill {file}",
        "    trains the student, scores it and writes a report.",
        "Paths are relative to the folder where you type this.",
        "`innerdistill keys` explains every key.",
    ]


def _list_findings(found: Found) -> list[str]:
    text = describe_choice("Text", found.text)
    others = {"--text": found.text.others, "--label": () if found.label is None else found.label.others}
    possible = {option: f" Also possible ({option}): {join_names(names)}." for option, names in others.items() if names}
    lengths = [] if found.lengths is None else [found.lengths.describe()]
    return [
        f"{found.sample.path}: {found.describe_file()}",
        text + possible.get("--text", ""),
        found.describe_label() + possible.get("--label", ""),
        *([] if found.labels is None else [found.labels.summary]),
        f"{found.model.name}: {found.describe_model()}",
        *lengths,
        found.describe_held_out(),
    ]
