"""load_validation: the validation split of a finished run, read again from its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from innerdistill.data.arrow import find_cache
from innerdistill.data.batches import Collator
from innerdistill.data.task_data import load_task
from innerdistill.data.tokens import tokenise
from innerdistill.models.pretrained import load_tokenizer
from innerdistill.models.sentence_encoder import read_prompt, read_search_prompts
from innerdistill.problem_types.problem_types import choose_default_metric
from innerdistill.report.run_folder import MODEL, read_record


def load_validation(student: PreTrainedModel, folder: Path, objects: Mapping[str, Any]) -> tuple[Dataset, Collator]:
    """Load the validation split of a finished run, as its student reads it.

    Args:
        student: model of the run.
        folder: folder of the run.
        objects: rows by split, of a run that was given Python objects.

    Returns:
        Tokenised examples, and what makes a batch of some of them.

    Raises:
        ValueError: data that is missing or has changed.
    """
    record = read_record(folder)
    examples = record.problem_type.examples
    recipe = record.recipe.data
    is_named = recipe.task is not None or recipe.metric is not None
    metric = None if is_named else choose_default_metric(recipe, record.problem_type)
    data = load_task(recipe, examples, metric=metric, objects=objects)
    if data.fingerprint() != record.data.fingerprint:
        raise ValueError(f"{folder}: its data has changed since the run, so its files cannot be scored.")
    tokenizer = load_tokenizer(str(folder / MODEL), student, texts=len(data.task.text))
    rows, _ = tokenise(
        data.splits["validation"],
        data.task,
        tokenizer,
        examples=examples,
        names=record.data.names,
        max_length=record.data.max_length,
        where="validation",
        folder=find_cache(),
        prompt=read_prompt(tokenizer),
        prompts=read_search_prompts(tokenizer),
    )
    return rows, examples.make_collator(tokenizer)
