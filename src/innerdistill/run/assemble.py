"""assemble: turn a recipe into a Job, and check everything before anything is trained or written.

The order: load the data, load the models, decide the layer map and the stages, check that all fits, tokenise.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, TrainingArguments

from innerdistill.data.example_type import ExampleType, Names
from innerdistill.data.label_columns import name_label_columns
from innerdistill.data.sources import Sources, find_sources
from innerdistill.data.task_data import TaskData, load_task, read_first_values
from innerdistill.data.tasks import resolve_task
from innerdistill.evaluation.metrics import find_primary_metric
from innerdistill.losses.loss import Loss, collect_needs
from innerdistill.losses.registry import LOSSES
from innerdistill.models.check import check_internal_teacher, check_source, check_windows
from innerdistill.models.layer_map import choose_layers
from innerdistill.models.pretrained import longest_input, read_config_with_head
from innerdistill.models.probe import Architecture, measure_model
from innerdistill.models.student import count_layers
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.problem_types import find_problem_type
from innerdistill.recipe.recipe import Recipe
from innerdistill.run.contrast import check_contrast
from innerdistill.run.given_outputs import GivenOutputs
from innerdistill.run.job import Job
from innerdistill.run.load_models import Models, load_models
from innerdistill.run.objects import Objects, check_objects
from innerdistill.run.own_tokens import add_teacher_job
from innerdistill.run.preview import check_recipe_names
from innerdistill.run.tokenised import Tokenised, tokenise_splits
from innerdistill.run.warnings import list_data_warnings, list_unknown_token_warnings
from innerdistill.run.without_labels import refuse_training_on_labels, refuse_what_needs_labels
from innerdistill.run.without_teacher import refuse_layers
from innerdistill.support.messages import name_key
from innerdistill.training.arguments import check_sections
from innerdistill.training.check_arguments import check_arguments
from innerdistill.training.recompute import check_recomputation
from innerdistill.training.schedules import SchedulePlan, build_stages
from innerdistill.training.stage import Stage
from innerdistill.training.targets import has_fast_bfloat16
from innerdistill.training.user_callbacks import check_callbacks

MOST_TOGETHER = 2  # texts that a model reads together

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
    sources = find_sources(recipe.data, objects.data)
    problem_type, metric = _find_problem_type(recipe, objects, sources)
    examples = problem_type.examples
    sources = _settle_labels(recipe, sources, problem_type, losses=ChainMap(outside, LOSSES))
    data = load_task(recipe.data, examples, metric=metric, objects=objects.data, sources=sources)
    # A ChainMap, because merging the dicts would import the losses of every installed package.
    losses = ChainMap(outside, dict(problem_type.output_losses), LOSSES)
    models = load_models(recipe, objects, data, problem_type)
    teacher, source, names = models.close_teacher, models.source, models.names
    architecture = measure_model(models.reference_model)

    number = architecture.num_layers
    num_layers = recipe.student.num_layers or (number if teacher is None else max(1, number // 2))
    pairs = {} if teacher is None else choose_layers(recipe.layer_map, num_layers, number, key="layer_map")
    number_of_source = count_layers(source or models.reference_model)
    copied = choose_layers(recipe.student.layers, num_layers, number_of_source, key="student.layers")
    stages = build_stages(_plan_schedule(recipe, pairs, losses, problem_type, texts=len(data.task.text)))
    check_callbacks(objects.callbacks, stages, can_evaluate=True)
    max_length = longest_input(models.tokenizer, models.reference_model, recipe.data.max_length)

    compares_layers = any(collect_needs(stage.losses, stage.pairs, losses).teacher_layers for stage in stages)
    if teacher is not None:
        compared = {name: losses[name].needs for stage in stages if stage.pairs for name in stage.losses}
        _check_models(recipe, models, architecture, pairs=pairs, copied=copied, compared=compared)
    elif compares_layers:
        raise ValueError(refuse_layers(recipe))
    internal_teacher = models.internal_teacher if compares_layers else None
    device = _check_training_arguments(recipe, stages, models.reference_model)

    tokens = tokenise_splits(data, models.tokenizer, examples=examples, names=names, max_length=max_length)
    _warn_of_data(examples, data, tokens, names=names)
    job = Job(
        recipe=recipe,
        problem_type=problem_type,
        data=data,
        splits=tokens.splits,
        names=names,
        tokenizer=models.tokenizer,
        collate=examples.make_collator(models.tokenizer, pad_to=max_length if recipe.pad_to_max_length else None),
        teacher=teacher and teacher.to(device),
        architecture=architecture,
        source=source and source.to(device),
        internal_teacher=internal_teacher and internal_teacher.to(device),
        num_layers=num_layers,
        pairs=pairs,
        stages=stages,
        losses=losses,
        max_length=max_length,
        truncated=tokens.truncated,
        unknown=tokens.unknown,
        callbacks=objects.callbacks,
        given_outputs=None if data.task.given is None else GivenOutputs(data.task.given),
    )
    return add_teacher_job(job, models.teacher, models.teacher_tokenizer)


def _warn_of_data(examples: ExampleType, data: TaskData, tokens: Tokenised, *, names: Names) -> None:
    warnings = list_data_warnings(examples, data, tokens.splits, names=names)
    for warning in warnings + list_unknown_token_warnings(tokens.unknown):
        logger.warning("Warning: %s", warning)


def _check_models(
    recipe: Recipe,
    models: Models,
    architecture: Architecture,
    *,
    pairs: Mapping[int, int],
    copied: Mapping[int, int],
    compared: Mapping[str, Collection[str]],
) -> None:
    """Check that the other models fit the teacher. `compared` has what the losses of stages with layers read."""
    teacher, source, internal_teacher = models.teacher, models.source, models.internal_teacher
    if source is not None:
        of_activations = [name for name, parts in compared.items() if {"cls", "hidden"} & set(parts)]
        copies_head = recipe.student.head == "teacher"
        check_source(source, teacher, architecture, activation_losses=of_activations, copies_head=copies_head)
    if internal_teacher is not None:
        check_internal_teacher(internal_teacher, teacher, architecture)
    if any("attention" in parts for parts in compared.values()):
        check_windows(pairs, copied, source=source or teacher, teacher=internal_teacher or teacher)


def _settle_labels(
    recipe: Recipe, sources: Sources, problem_type: ProblemType, *, losses: Mapping[str, Loss]
) -> Sources:
    """Refuse what needs labels that train does not have, or that the problem type does not learn from."""
    if problem_type.examples.pairs_apart:
        sources = sources.drop_labels_of_texts(resolve_task(recipe.data))
    elif len(resolve_task(recipe.data).text) > MOST_TOGETHER:
        raise ValueError(
            f"data.text: three columns are for sentence encoders, which embed each text for itself; the models of this "
            f"run predict {problem_type.wording.outputs}, so name one column or two."
        )
    elif sources.searches:
        raise ValueError(
            f"data.{next(iter(sources.searches))}: queries are searched by their embeddings, and the models of this "
            f"run predict {problem_type.wording.outputs}; name a sentence encoder in teacher.path."
        )
    elif recipe.data.pairs is not None:
        raise ValueError(
            f"data.pairs: pairs are compared by their embeddings, and the models of this run predict "
            f"{problem_type.wording.outputs}; name a sentence encoder in teacher.path. Two texts that a model reads "
            "together are data.text=[first, second]."
        )
    if not problem_type.learns_from_labels:
        refuse_training_on_labels(recipe, title=problem_type.wording.title, outputs=problem_type.wording.outputs)
        is_scored = None in sources.labelled.values() or sources.has_labels
        refuse_what_needs_labels(recipe, is_scored_by_labels=is_scored, losses=())
    elif not sources.has_labels:
        _check_missing_labels(recipe, sources, losses=losses)
    return sources


def _check_missing_labels(recipe: Recipe, sources: Sources, *, losses: Mapping[str, Loss]) -> None:
    """Refuse what needs labels in train, and say that the teacher labels it."""
    reading = [name for name, weight in recipe.losses.items() if weight > 0 and "labels" in losses[name].needs]
    refuse_what_needs_labels(recipe, is_scored_by_labels=None in sources.labelled.values(), losses=reading)
    key = recipe.data.outputs_key
    logger.log(
        logging.INFO if recipe.data.label is None else logging.WARNING,  # a name that is given may be meant for train
        "data.train has no column %s: %s. If it has labels, name their column with data.label.",
        name_label_columns(resolve_task(recipe.data)),
        "the teacher labels it" if key is None else f"the outputs of {key} stand in their place",
    )


def _find_problem_type(recipe: Recipe, objects: Objects, sources: Sources) -> tuple[ProblemType, str]:
    """Problem type and primary metric. Teacher and labels are only looked at where the recipe leaves it open."""
    config = text = label = None
    if recipe.data.problem_type is None and recipe.data.task is None:
        text, label = read_first_values(sources, resolve_task(recipe.data))
        if recipe.teacher.path is not None:
            with name_key("teacher.path"):
                config = read_config_with_head(objects.models.get("teacher.path", recipe.teacher.path))
    choice = find_problem_type(recipe.data, teacher=config, text=text, label=label, has_labels=sources.has_labels)
    if choice.reason:
        logger.info("Problem type: %s, because %s.", choice.problem_type.wording.title, choice.reason)
    return choice.problem_type, choice.metric


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


def _check_training_arguments(recipe: Recipe, stages: Sequence[Stage], model: PreTrainedModel) -> torch.device:
    """Build the Trainer's arguments of every section and stage, so that a wrong option is refused now; its device."""
    sections = {
        "trainer": recipe.trainer,
        "internal_trainer": recipe.internal_trainer,
        "teacher.trainer": recipe.teacher.trainer,
    }
    arguments = check_sections(sections, stages, folder=Path(recipe.output), seed=recipe.seed)
    for stage_arguments in arguments:
        check_recomputation(model, stage_arguments)
    device = arguments[-1].device
    _warn_of_slow_bfloat16(arguments, device)
    return device


def _warn_of_slow_bfloat16(arguments: Sequence[TrainingArguments], device: torch.device) -> None:
    if any(stage_arguments.bf16 for stage_arguments in arguments) and not has_fast_bfloat16(device):
        logger.warning(
            "trainer.bf16: this device has no bfloat16 instructions, so a step takes about ten times as long as in "
            "float32; leave it out."
        )


def _plan_schedule(
    recipe: Recipe, pairs: Mapping[int, int], losses: Mapping[str, Loss], problem_type: ProblemType, *, texts: int
) -> SchedulePlan:
    weights = problem_type.choose_losses(recipe.losses)
    problem_type.check_losses(weights, losses)
    check_contrast(recipe, weights, losses, texts=texts)
    internal: dict[str, float] = {}
    classification: dict[str, float] = {}
    for name, weight in weights.items():
        if weight > 0:
            phase = internal if losses[name].is_internal else classification
            phase[name] = weight
    return SchedulePlan(pairs=pairs, internal=internal, classification=classification, recipe=recipe.schedule)
