"""assemble: turn a recipe into a Job, and check everything before anything is trained or written.

The order: load the data, load the models, decide the layer map and the stages, check that all fits, tokenise.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from innerdistill.data.arrow import find_cache
from innerdistill.data.example_type import ExampleType, Names
from innerdistill.data.task_data import TaskData, load_task
from innerdistill.data.tokens import tokenise
from innerdistill.evaluation.metrics import find_primary_metric
from innerdistill.losses.loss import Loss, collect_needs
from innerdistill.losses.registry import LOSSES
from innerdistill.models.check import check_internal_teacher, check_source, check_windows
from innerdistill.models.families import encoder_layers
from innerdistill.models.layer_map import choose_layers
from innerdistill.models.pretrained import load_base, load_classifier, load_tokenizer, longest_input
from innerdistill.models.probe import probe
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.problem_types import find_problem_type, find_problem_type_of_model
from innerdistill.recipe.recipe import Recipe
from innerdistill.run.job import Job
from innerdistill.run.objects import Objects, check_objects
from innerdistill.run.preview import check_recipe_names
from innerdistill.run.warnings import list_label_warnings, list_unknown_token_warnings
from innerdistill.support.messages import name_key
from innerdistill.training.arguments import check_sections
from innerdistill.training.check_arguments import check_arguments
from innerdistill.training.recompute import check_recomputation
from innerdistill.training.schedules import SchedulePlan, build_stages
from innerdistill.training.stage import Stage
from innerdistill.training.targets import has_fast_bfloat16
from innerdistill.training.user_callbacks import check_callbacks

logger = logging.getLogger(__name__)


def assemble(recipe: Recipe, objects: Objects | None = None) -> Job:
    """Load data and models, decide the layer map and the stages, and check that everything fits together.

    Args:
        recipe: recipe of the run.
        objects: Python objects in place of what a recipe names.

    Returns:
        A job that can start.

    Raises:
        ValueError: a recipe, data or models that do not fit together.
    """
    logger.info("Load data and models.")
    objects = objects or Objects()
    check_objects(recipe, objects)
    outside = dict(objects.losses)
    check_names(recipe, ChainMap(outside, LOSSES))

    problem_type = find_problem_type(recipe.data)
    examples = problem_type.examples
    data = load_task(recipe.data, examples, objects=objects.data)
    # A ChainMap, because merging the dicts would import the losses of every installed package.
    losses = ChainMap(outside, dict(problem_type.output_losses), LOSSES)
    models = _find_models(recipe, objects)
    teacher, names = _load_teacher(recipe, data, problem_type, models)
    with name_key("teacher" if objects.tokenizer is None else "tokenizer"):
        folder = recipe.teacher.path or str(recipe.teacher.base)
        tokenizer = load_tokenizer(objects.tokenizer or folder, teacher, texts=len(data.task.text))
    architecture = probe(teacher)
    source = _load_source(recipe, teacher, problem_type, names, models)
    internal_teacher = _load_internal_teacher(recipe, problem_type, names, models)

    num_layers = recipe.student.num_layers or max(1, architecture.num_layers // 2)
    pairs = choose_layers(recipe.layer_map, num_layers, architecture.num_layers, key="layer_map")
    copied = choose_layers(
        recipe.student.layers, num_layers, len(encoder_layers(source or teacher)), key="student.layers"
    )
    stages = build_stages(_plan_schedule(recipe, pairs, losses))
    check_callbacks(objects.callbacks, stages, can_evaluate=True)
    max_length = longest_input(tokenizer, teacher, recipe.data.max_length)

    if source is not None:
        check_source(source, teacher, architecture, copies_head=recipe.student.head == "teacher")
    if internal_teacher is not None:
        check_internal_teacher(internal_teacher, teacher, architecture)
    if any("attention" in losses[name].needs for name, weight in recipe.losses.items() if weight > 0):
        check_windows(pairs, copied, source=source or teacher, teacher=internal_teacher or teacher)
    if not any(collect_needs(stage.losses, stage.pairs, losses).teacher_layers for stage in stages):
        internal_teacher = None
    arguments = _check_training_arguments(recipe, stages, teacher)
    device = arguments[-1].device
    _warn_of_slow_bfloat16(arguments, device)

    splits, truncated = _tokenise_splits(data, tokenizer, examples=examples, names=names, max_length=max_length)
    unknown = _measure_unknown_tokens(splits, tokenizer)
    for warning in list_label_warnings(examples, data, splits, names=names) + list_unknown_token_warnings(unknown):
        logger.warning("Warning: %s", warning)
    return Job(
        recipe=recipe,
        problem_type=problem_type,
        data=data,
        splits=splits,
        names=names,
        tokenizer=tokenizer,
        collate=examples.make_collator(tokenizer, pad_to=max_length if recipe.pad_to_max_length else None),
        teacher=teacher.to(device),
        architecture=architecture,
        source=source and source.to(device),
        internal_teacher=internal_teacher and internal_teacher.to(device),
        num_layers=num_layers,
        pairs=pairs,
        stages=stages,
        losses=losses,
        max_length=max_length,
        truncated=truncated,
        unknown=unknown,
        callbacks=objects.callbacks,
    )


def _find_models(recipe: Recipe, objects: Objects) -> dict[str, PreTrainedModel | str]:
    """The models of a recipe by key: folders and names, or objects in their place."""
    names = {
        "teacher.path": recipe.teacher.path,
        "teacher.base": recipe.teacher.base,
        "teacher.internal": recipe.teacher.find_internal(),
        "student.source": recipe.teacher.base if recipe.student.source == "base" else recipe.student.source,
    }
    objects_by_key = dict(objects.models)
    if "teacher.base" in objects.models:  # other keys may speak of it
        for key, word in (("teacher.internal", recipe.teacher.internal), ("student.source", recipe.student.source)):
            if word == "base":
                objects_by_key[key] = objects.models["teacher.base"]
    return {key: objects_by_key.get(key, name) for key, name in names.items() if name is not None}


def check_names(recipe: Recipe, losses: Mapping[str, Loss] = LOSSES) -> None:
    """Check the names in a recipe: losses, schedule, metric, keys of TrainingArguments. Reads neither data nor models.

    Args:
        recipe: the recipe.
        losses: the losses by name.

    Raises:
        ValueError: an unknown name, with the nearest known one; a wrong value; a missing teacher.
    """
    check_recipe_names(recipe, losses)
    for name, weight in recipe.losses.items():
        if weight > 0:
            losses[name]  # imports the loss of an installed package, which may fail
    if recipe.data.metric is not None:
        with name_key("data.metric"):
            find_primary_metric(recipe.data.metric)
    for section in ("trainer", "internal_trainer"):
        check_arguments(section, getattr(recipe, section))
    check_arguments("teacher.trainer", recipe.teacher.trainer)


def _tokenise_splits(
    data: TaskData, tokenizer: PreTrainedTokenizerBase, *, examples: ExampleType, names: Names, max_length: int
) -> tuple[dict[str, datasets.Dataset], dict[str, int]]:
    """Tokenise all splits; also count the truncated examples of each split."""
    splits, truncated = {}, {}
    for split, table in data.splits.items():
        splits[split], truncated[split] = tokenise(
            table,
            data.task,
            tokenizer,
            examples=examples,
            names=names,
            max_length=max_length,
            where=split,
            folder=find_cache(),
        )
    return splits, truncated


def _measure_unknown_tokens(
    splits: Mapping[str, datasets.Dataset], tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Measure the share of unknown tokens by split."""
    shares = {}
    for split, rows in splits.items():
        unknown, count = 0, 0
        for chunk in rows.data["input_ids"].chunks:
            ids = chunk.flatten().to_numpy(zero_copy_only=False)
            unknown, count = unknown + int((ids == tokenizer.unk_token_id).sum()), count + len(ids)
        shares[split] = unknown / max(count, 1)
    return shares


def _load_teacher(
    recipe: Recipe, data: TaskData, problem_type: ProblemType, models: Mapping[str, PreTrainedModel | str]
) -> tuple[PreTrainedModel, Names]:
    """Load the teacher or its base model, and match the labels of the data to its outputs."""
    if recipe.teacher.base is not None:
        if (recipe.data.task, recipe.data.metric, recipe.data.labels) == (None, None, None):
            problem_type.examples.refuse_names(data.names, data.task)
        with name_key("teacher.base"):
            base = models["teacher.base"]
            teacher = load_base(base, problem_type.head, names=data.names, seed=recipe.teacher.seed)
        return teacher, data.names
    assert recipe.teacher.path is not None
    with name_key("teacher.path"):
        teacher = load_classifier(models["teacher.path"], problem_type.head)
        teacher_type = find_problem_type_of_model(teacher.config)
    if teacher_type is not problem_type:
        raise ValueError(
            f"teacher.path: {recipe.teacher.path} predicts {teacher_type.wording.outputs}, but the metric "
            f"{data.task.metric!r} needs {problem_type.wording.outputs}: choose another teacher or another data.metric."
        )
    outputs, declared = problem_type.head.name_outputs(teacher.config), data.task.labels is not None
    with name_key(f"data.label: {data.task.label!r}"):
        return teacher, problem_type.examples.match_names(data.names, outputs, declared=declared)


def _load_source(
    recipe: Recipe,
    teacher: PreTrainedModel,
    problem_type: ProblemType,
    names: Names,
    models: Mapping[str, PreTrainedModel | str],
) -> PreTrainedModel | None:
    """Load the model whose layers the student copies; None for the teacher itself, or for `random` weights."""
    source = recipe.student.source
    if source in ("teacher", "random"):
        return None
    if source == "base" and recipe.teacher.base is None:
        raise ValueError("student.source: 'base' means the layers of teacher.base, which is not given.")
    with name_key("student.source"):
        model = load_base(models["student.source"], problem_type.head, names=names, seed=recipe.seed)
    if source != "base":
        # Another model may have other names for its labels; the student uses the teacher's names.
        model.config.id2label, model.config.label2id = teacher.config.id2label, teacher.config.label2id
    return model


def _load_internal_teacher(
    recipe: Recipe, problem_type: ProblemType, names: Names, models: Mapping[str, PreTrainedModel | str]
) -> PreTrainedModel | None:
    """Load the model that the internal losses learn from; None for the teacher itself.

    Its head is new and never read. The seed is fixed, so that runs of all seeds share its cached outputs.
    """
    if "teacher.internal" not in models:
        return None
    with name_key("teacher.internal"):
        return load_base(models["teacher.internal"], problem_type.head, names=names)


def _check_training_arguments(
    recipe: Recipe, stages: Sequence[Stage], teacher: PreTrainedModel
) -> list[TrainingArguments]:
    """Build the Trainer's arguments of every section and stage once, so that a wrong option is refused now."""
    sections = {
        "trainer": recipe.trainer,
        "internal_trainer": recipe.internal_trainer,
        "teacher.trainer": recipe.teacher.trainer,
    }
    arguments = check_sections(sections, stages, folder=Path(recipe.output), seed=recipe.seed)
    for stage_arguments in arguments:
        check_recomputation(teacher, stage_arguments)
    return arguments


def _warn_of_slow_bfloat16(arguments: Sequence[TrainingArguments], device: torch.device) -> None:
    if any(stage_arguments.bf16 for stage_arguments in arguments) and not has_fast_bfloat16(device):
        logger.warning(
            "trainer.bf16: this device has no bfloat16 instructions, so a step takes about ten times as long as in "
            "float32; leave it out."
        )


def _plan_schedule(recipe: Recipe, pairs: Mapping[int, int], losses: Mapping[str, Loss]) -> SchedulePlan:
    internal: dict[str, float] = {}
    classification: dict[str, float] = {}
    for name, weight in recipe.losses.items():
        if weight > 0:
            weights = internal if losses[name].is_internal else classification
            weights[name] = weight
    return SchedulePlan(pairs=pairs, internal=internal, classification=classification, recipe=recipe.schedule)
