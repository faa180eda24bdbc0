"""What is known of a run before torch is imported: what is wrong with it, and the first line of its command.

torch and transformers take seconds to import. Everything here needs only the recipe, the beginnings of the data files,
the model's config.json and the names in the output folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from innerdistill.data.split_files import check_headers
from innerdistill.losses.names import BUILT_IN
from innerdistill.models.config_file import check_config_file, is_sentence_encoder, read_num_layers
from innerdistill.models.layer_map import choose_layers
from innerdistill.recipe.recipe import Recipe
from innerdistill.recipe.reporting import choose_trackers
from innerdistill.report.output_folder import check_run_folder
from innerdistill.run.hub import check_upload
from innerdistill.run.without_labels import refuse_training_on_labels, refuse_what_needs_labels
from innerdistill.run.without_teacher import describe_outputs, refuse_what_needs_teacher
from innerdistill.support.extensions import find_entry_points
from innerdistill.support.extras import require_extra
from innerdistill.support.messages import format_count, name_key, shorten_value, suggest_name
from innerdistill.training.schedules import SCHEDULES, check_schedule

SOURCES = ("teacher", "base", "random")  # where a student's weights come from, besides checkpoints


def refuse_early(recipe: Recipe, *, finetunes: bool = False, writes: bool = True) -> None:
    """Refuse a recipe that cannot run, as far as that is known without torch.

    Args:
        recipe: the recipe.
        finetunes: whether only the teacher is fine-tuned.
        writes: whether a run is written into `output`.

    Raises:
        ValueError: an unknown name, a missing file, folder, column or package, layers that do not exist, or a finished
            run.
    """
    for key in recipe.list_objects():
        raise ValueError(refuse_missing_object(key))
    if finetunes:
        check_base_is_named(recipe)
    check_recipe_names(recipe, (*BUILT_IN, *find_entry_points("losses")))
    labelled = check_headers(recipe.data)
    if _is_of_sentence_encoder(recipe):
        refuse_training_on_labels(recipe, title="sentence similarity", outputs="embeddings")
    if labelled["train"] is False:
        refuse_what_needs_labels(recipe, is_scored_by_labels=None in labelled.values())
    if recipe.data.metric is not None:
        from innerdistill.evaluation.metrics import find_primary_metric  # noqa: PLC0415 - scikit-learn takes seconds

        with name_key("data.metric"):
            find_primary_metric(recipe.data.metric)
    _check_layers(recipe)
    if writes:
        check_extras(recipe)
    if writes and int(os.environ.get("WORLD_SIZE", "1")) == 1:  # of several processes, the first one looks later
        check_run_folder(recipe.model_copy(update={"baseline": False}) if finetunes else recipe, of_teacher=finetunes)


def _is_of_sentence_encoder(recipe: Recipe) -> bool:
    """Whether a recipe names pairs or the folder of a sentence encoder, and no other problem type."""
    embeds = recipe.teacher.path is not None and is_sentence_encoder(recipe.teacher.path)
    return recipe.data.problem_type is None and (recipe.data.pairs is not None or embeds)


def refuse_missing_object(key: str, *, function: str = "distill") -> str:
    """Say that the recipe of a run speaks of a Python object that is not there.

    Args:
        key: from `Recipe.list_objects`.
        function: function of the package that takes it.

    Returns:
        One sentence.
    """
    return (
        f"{key}: the run was given a Python object here, which its recipe.yaml does not hold; call "
        f"innerdistill.{function} with it again, or name a file or folder."
    )


def check_base_is_named(recipe: Recipe) -> None:
    """Check that there is a model to fine-tune.

    Args:
        recipe: the recipe.

    Raises:
        ValueError: `teacher.base` is missing.
    """
    if recipe.teacher.base is None:
        raise ValueError("teacher.base: name the pre-trained model to fine-tune, in Python teacher={'base': model}.")


def check_extras(recipe: Recipe) -> None:
    """Check what a run of the recipe needs beside data and models: installed packages, and a token for an upload.

    Args:
        recipe: the recipe.

    Raises:
        ValueError: a missing package, and the extra that installs it; an upload that cannot work.
    """
    if recipe.onnx:
        require_extra("onnx", key="onnx: true")
    choose_trackers(recipe.trainer)
    check_upload(recipe)


def check_recipe_names(recipe: Recipe, losses: Collection[str]) -> None:
    """Check the names of teacher, losses and schedule.

    Args:
        recipe: the recipe.
        losses: names of the losses.

    Raises:
        ValueError: an unknown name, with the nearest known one; no teacher, or two; an internal teacher that is not
            given; what needs a teacher, where its outputs are columns.
    """
    if recipe.teacher.path is not None and recipe.teacher.base is not None:
        raise ValueError(
            f"teacher: both teacher.path ({recipe.teacher.path}) and teacher.base ({recipe.teacher.base}) are set; "
            "teacher.path=null or teacher.base=null removes one."
        )
    if recipe.teacher.path is None and recipe.teacher.base is None and recipe.data.outputs_key is None:
        raise ValueError("teacher: give either teacher.path (a fine-tuned classifier) or teacher.base (a base model).")
    if recipe.teacher.internal == "base" and recipe.teacher.base is None:
        raise ValueError(
            "teacher.internal: 'base' means the model that teacher.base names, but the recipe has teacher.path: a "
            "control without a pre-trained source; name the checkpoint that this teacher was fine-tuned from."
        )
    for name in recipe.losses:
        if name not in losses:
            raise ValueError(f"losses: unknown loss {shorten_value(name)}. {suggest_name(name, losses, kind='losses')}")
    check_schedule(recipe.schedule.name)
    if recipe.data.outputs_key is not None:
        refuse_what_needs_teacher(recipe)


def describe_run(recipe: Recipe, *, finetunes: bool = False) -> str:
    """Describe what a command is about to do, in one line.

    Args:
        recipe: the recipe.
        finetunes: whether only the teacher is fine-tuned.

    Returns:
        Teacher, layers of both models as far as they are known, schedule and output.
    """
    if recipe.data.outputs_key is not None:
        return _describe_run_without_teacher(recipe)
    teacher = recipe.teacher.path or str(recipe.teacher.base)
    layers = read_num_layers(teacher)
    name = f"{teacher} ({format_count(layers, 'layer')})" if layers else teacher
    if finetunes:
        return f"Fine-tune {name} for {format_count(recipe.teacher.epochs, 'epoch')}. Output: {recipe.output}."
    number = recipe.student.num_layers or (layers and max(1, layers // 2))
    student = "a student with half its layers" if number is None else f"a student with {format_count(number, 'layer')}"
    if _has_own_source(recipe):
        student = _describe_source(recipe)
    task = f"Fine-tune {name}, then distil it" if recipe.teacher.path is None else f"Distil {name}"
    internal = recipe.teacher.find_internal()
    control = "" if internal is None else f" Internal losses learn from {internal}."
    return f"{task} into {student}.{control} Schedule: {recipe.schedule.name}. Output: {recipe.output}."


def _describe_run_without_teacher(recipe: Recipe) -> str:
    outputs, student = describe_outputs(recipe), _describe_source(recipe)
    return f"Distil {outputs} into {student}. Schedule: {recipe.schedule.name}. Output: {recipe.output}."


def _describe_source(recipe: Recipe) -> str:
    """Describe a student by the checkpoint that its layers are from."""
    source, layers = recipe.student.source, recipe.student.num_layers
    if recipe.data.outputs_key is not None:  # else it depends on the two models
        layers = layers or read_num_layers(source)
    return f"a student from {source}" + (f" with {format_count(layers, 'layer')}" if layers else "")


def _has_own_source(recipe: Recipe) -> bool:
    """Whether the student's layers are from a checkpoint of its own, and are not compared with the teacher's."""
    schedule = SCHEDULES.get(recipe.schedule.name)
    compares_layers = schedule is None or schedule.compares_layers
    return recipe.student.source not in SOURCES and not compares_layers


def _check_layers(recipe: Recipe) -> None:
    names = {"teacher.path": recipe.teacher.path, "teacher.base": recipe.teacher.base}
    names["teacher.internal"] = recipe.teacher.find_internal()
    names["student.source"] = None if recipe.student.source in SOURCES else recipe.student.source
    for key, name in names.items():
        if name is not None:
            with name_key(key):
                check_config_file(name)
    if recipe.data.outputs_key is not None or _has_own_source(recipe):
        layers = read_num_layers(recipe.student.source)
        if layers is not None:
            choose_layers(recipe.student.layers, recipe.student.num_layers or layers, layers, key="student.layers")
        return
    layers = read_num_layers(recipe.teacher.path or str(recipe.teacher.base))
    if layers is None:
        return
    number = recipe.student.num_layers or max(1, layers // 2)
    choose_layers(recipe.layer_map, number, layers, key="layer_map")
    if recipe.student.source in ("teacher", "base"):
        choose_layers(recipe.student.layers, number, layers, key="student.layers")
