"""list_entries: every key of a first recipe, with comments that a newcomer reads from top to bottom."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

from innerdistill.first_recipe.columns import describe_choice
from innerdistill.first_recipe.entries import Entry
from innerdistill.first_recipe.found import Found
from innerdistill.problem_types.multi_label_classification import MULTI_LABEL_CLASSIFICATION
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION
from innerdistill.recipe.advice import DEFAULT_LEARNING_RATE, show_rate
from innerdistill.recipe.recipe import TeacherRecipe
from innerdistill.support.extras import list_missing_packages
from innerdistill.support.files import slugify
from innerdistill.support.messages import format_count, join_names
from innerdistill.training.arguments import DEFAULTS

EPOCHS_PER_LAYER, CLASSIFICATION_EPOCHS = 1, 3
# What a file of each split is for: one that is given, one that might be; and the name of an example without its ending.
SPLITS = {
    "validation": ("Scores are computed on this file.", "With a validation file, less is held out:", "dev"),
    "test": ("The test file. Its labels are optional.", "A test file, whose labels are optional:", "test"),
    "unlabelled": (
        "Texts without labels; the teacher labels them.",
        "More texts, which the teacher labels:",
        "more",
    ),
}
SETS = "Any number of labels per example. They may be a list, or one text (data.separator)."
TAGS = "A tag for each word. A long text is read in overlapping windows, each word in one of them."
# Problem types that a recipe names, and what to know of them.
MEANINGS = {MULTI_LABEL_CLASSIFICATION.name: SETS, TOKEN_CLASSIFICATION.name: TAGS}
OUTPUTS = "runs"  # folder of all runs
PLAIN_NAMES = ("train", "training", "data")  # of files that are told apart by their folder


def list_entries(found: Found) -> list[Entry]:
    """List the keys of a first recipe in their order.

    Args:
        found: what was found in file and model.

    Returns:
        Keys, values and comments.
    """
    return [*_list_data(found), *_list_models(found), *_list_training(found), *_list_results(found)]


def _list_data(found: Found) -> list[Entry]:
    entries, ending = [Entry("data.train", found.sample.path, (found.describe_file(),))], Path(found.sample.path).suffix
    for split, (meaning, possible, example) in SPLITS.items():
        given = found.files.get(split)
        held_out = (found.describe_held_out(),) if split == "validation" else ()
        comments = (*held_out, possible) if given is None else (meaning, *held_out)
        entries.append(Entry(f"data.{split}", given or f"{example}{ending}", comments, is_off=given is None))
    text = list(found.text.names)
    about_text = [describe_choice("Text", found.text)]
    if found.text.others and len(text) == 1:
        pairs = "" if found.problem_type.examples.reads_words else f" For pairs, write two: [{text[0]}, ...]."
        about_text.append(f"Also possible: {join_names(found.text.others)}.{pairs}")
    entries.append(Entry("data.text", text if len(text) > 1 else text[0], tuple(about_text)))
    return [*entries, *_list_labels(found), *_list_lengths(found)]


def _list_labels(found: Found) -> list[Entry]:
    kind = []
    if found.problem_type.name in MEANINGS:
        kind = [Entry("data.problem_type", found.problem_type.name, (MEANINGS[found.problem_type.name],))]
    if found.label is None or found.labels is None:
        comments = (found.describe_label(), *found.list_warnings(), "If a column holds labels, name it:")
        return [Entry("data.label", "label", comments, is_off=True), *kind]
    about_label = [describe_choice("Label", found.label), found.labels.summary, *found.list_warnings()]
    if found.label.others:
        about_label.append(f"Also possible: {join_names(found.label.others)}.")
    entries = [Entry("data.label", found.label.names[0], tuple(about_label))]
    if found.labels.declared:
        sentence = f"CHECK THIS: the names of the labels, in the order of {found.model.name}'s outputs."
        entries.append(Entry("data.labels", list(found.labels.declared), (sentence,)))
    elif found.labels.are_numbered:
        sentence = "The names of the tags, in the order of their numbers. Write all of them:"
        entries.append(Entry("data.labels", ["O", "B-person", "I-person"], (sentence,), is_off=True))
    return [*entries, *kind, Entry("data.metric", found.labels.metric, (found.labels.reason,))]


def _list_lengths(found: Found) -> list[Entry]:
    lengths = found.lengths
    if lengths is None:
        return []
    comments = [lengths.describe()]
    if lengths.suggested is not None:
        few = (
            "Reading the few longer texts in several windows"
            if lengths.has_windows
            else "Cutting off the few longer texts"
        )
        comments.append(f"{few} saves memory and time. Delete this line to read them whole.")
    elif lengths.usual < lengths.limit:
        comments.append("A limit would save nothing. Set one if your other texts are longer.")
    else:
        less = "fewer of the words around it" if lengths.has_windows else "less of each text"
        comments.append(f"A lower limit saves memory and time, but the student sees {less}.")
    return [Entry("data.max_length", lengths.suggested or lengths.limit, tuple(comments), lengths.suggested is None)]


def _list_models(found: Found) -> list[Entry]:
    layers = found.model.num_layers
    key = "teacher.base" if found.model.problem_type is None else "teacher.path"
    entries = [Entry(key, found.model.name, (found.describe_model(),))]
    if found.model.problem_type is None:
        folder = TeacherRecipe().folder
        entries.append(Entry("teacher.epochs", 3, (f"Epochs of its fine-tuning. The result is cached in {folder}.",)))
    half = "Half of the teacher's layers." if layers > 1 else "The teacher has one layer, and so has the student."
    return [
        *entries,
        Entry(
            "student.num_layers",
            max(1, layers // 2),
            (f"{half} With fewer, the student is faster.",),
        ),
        Entry("student.head", "teacher", ("Start with the teacher's head. `seed` starts with a new one.",)),
    ]


def _list_training(found: Found) -> list[Entry]:
    layers, batch = max(1, found.model.num_layers // 2), DEFAULTS["per_device_train_batch_size"]
    passes, train = layers * EPOCHS_PER_LAYER + CLASSIFICATION_EPOCHS, found.count_train()
    length = f"Epochs for each student layer. {format_count(passes, 'epoch')} in all, with those of the last stage."
    if train is not None and "unlabelled" not in found.files:
        steps = passes * math.ceil(train / batch)
        length = f"{length} That is about {format_count(steps, 'step')} of {batch} examples."
    return [
        Entry(
            "schedule.name",
            "sid",
            (
                "In which order the student learns. sid: one layer after the other, then the predictions.",
                "Others: pid, all_layers, soft_labels, joint, finetune.",
            ),
        ),
        Entry("schedule.epochs_per_layer", EPOCHS_PER_LAYER, (length,)),
        Entry("schedule.classification_epochs", CLASSIFICATION_EPOCHS, ("Epochs of the last stage: predictions.",)),
        Entry(
            "schedule.total_steps",
            2_000,
            ("Instead of epochs: a number of steps, however large the file is.",),
            is_off=True,
        ),
        Entry(
            "losses.gold_labels",
            0 if found.label is None else 1,
            (
                "1: the last stage also learns from the labels of your file. 0: from the teacher only.",
                "The losses that compare teacher and student are on by default.",
            ),
        ),
        Entry(
            "trainer.per_device_train_batch_size", batch, ("Examples per step. With too little memory, halve this.",)
        ),
        Entry(
            "trainer.learning_rate",
            1e-4,
            (f"Worth a try. The default is {show_rate(DEFAULT_LEARNING_RATE)}.",),
            is_off=True,
        ),
    ]


def _list_results(found: Found) -> list[Entry]:
    return [
        Entry(
            "baseline",
            True,
            (
                "Also train the same student without distillation, to compare."
                + " It needs labels." * (found.label is None),
            ),
            is_off=found.label is None,
        ),
        _explain_export(),
        Entry("output", _choose_output(found), ("Folder of the student, its scores and its report.",)),
    ]


def _explain_export() -> Entry:
    """The key of the ONNX files; off where their packages are not installed, since a run would be refused."""
    export = "Also export the student to ONNX, in float32 and int8."
    if list_missing_packages("onnx"):
        return Entry("onnx", True, (export, "This needs: pip install 'innerdistill[onnx]'"), is_off=True)
    return Entry("onnx", True, (export,))


def _choose_output(found: Found) -> str:
    """A folder in runs/ that is named after the file, and that is not there yet."""
    path = Path(found.sample.path)
    name = slugify(path.parent.name if path.stem in PLAIN_NAMES and path.parent.name else path.stem)
    numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(f"{OUTPUTS}/{each}" for each in numbered if not Path(OUTPUTS, each).exists())
