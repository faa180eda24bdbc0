"""load_models: the models of a recipe and their tokenizer, from folders, by name, or from Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.example_type import Names
from innerdistill.data.task_data import TaskData
from innerdistill.models.heads import HEAD_CLASSES, has_embedding_head
from innerdistill.models.pretrained import load_base, load_classifier, load_tokenizer, read_config_with_head
from innerdistill.models.sentence_encoder import SentenceEncoder
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.problem_types import find_problem_type_of_model
from innerdistill.recipe.recipe import Recipe
from innerdistill.run.objects import Objects, Place
from innerdistill.run.own_tokens import load_own_tokenizer, refuse_unreadable_layers
from innerdistill.run.without_teacher import NO_CHECKPOINTS
from innerdistill.support.messages import name_key


@dataclass(frozen=True)
class Models:
    """The models of a recipe. Those that were objects are copies.

    Attributes:
        teacher: fine-tuned teacher, or the base model that it is made from; None where its outputs are given.
        names: class names in the order of its outputs; None where labels are numbers.
        tokenizer: tokenizer of the student, which is the teacher's unless `teacher_tokenizer` says else.
        source: model whose layers the student copies; None if that is the teacher, or for random weights.
        internal_teacher: model that the internal losses learn from; None if that is the teacher.
        teacher_tokenizer: tokenizer of a teacher that reads its own tokens; None where both read the same.
    """

    teacher: PreTrainedModel | None
    names: Names
    tokenizer: PreTrainedTokenizerBase
    source: PreTrainedModel | None
    internal_teacher: PreTrainedModel | None
    teacher_tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def close_teacher(self) -> PreTrainedModel | None:
        """The teacher, if it reads the student's tokens."""
        return self.teacher if self.teacher_tokenizer is None else None

    @property
    def reference_model(self) -> PreTrainedModel:
        """The teacher, if it reads the student's tokens; else `source`."""
        model = self.source if self.close_teacher is None else self.close_teacher
        assert model is not None
        return model


def load_models(recipe: Recipe, objects: Objects, data: TaskData, problem_type: ProblemType) -> Models:
    """Load the models of a recipe.

    Args:
        recipe: recipe of the run.
        objects: Python objects in place of what the recipe names.
        data: the data, whose labels are matched to the outputs of the teacher.
        problem_type: what the models predict.

    Returns:
        The models, in eval mode, in float32, on the CPU.

    Raises:
        ValueError: a model that cannot be loaded, or that does not fit the data.
    """
    places = _locate_models(recipe, objects)
    if data.task.given is not None:
        return _load_without_teacher(recipe, objects, data, problem_type, places)
    refuse_unreadable_layers(recipe, places)
    teacher, names = _load_teacher(recipe, data, problem_type, places)
    texts = problem_type.examples.count_together(len(data.task.text))
    tokenizer = _load_tokenizer(recipe, objects, teacher, texts=texts)
    source = _load_source(recipe, teacher, problem_type, names, places)
    place = None if recipe.student.source in NO_CHECKPOINTS else places.get("student.source")
    own = load_own_tokenizer(recipe, teacher, tokenizer, source, place=place, texts=texts)
    internal_teacher = _load_internal_teacher(teacher, problem_type, names, places)
    if own is None:
        return Models(teacher, names, tokenizer, source, internal_teacher)
    return Models(teacher, names, own, source, internal_teacher, teacher_tokenizer=tokenizer)


def _load_without_teacher(
    recipe: Recipe, objects: Objects, data: TaskData, problem_type: ProblemType, places: Mapping[str, Place]
) -> Models:
    """Load the model whose layers the student copies, with its tokenizer. The columns with outputs say the names."""
    with name_key("student.source"):
        source = load_base(places["student.source"], problem_type.head, names=data.names, seed=recipe.seed)
    texts, key = len(data.task.text), "student.source" if objects.tokenizer is None else "tokenizer"
    with name_key(key):
        tokenizer = load_tokenizer(objects.tokenizer or recipe.student.source, source, texts=texts)
    return Models(None, data.names, tokenizer, source, internal_teacher=None)


def _locate_models(recipe: Recipe, objects: Objects) -> dict[str, Place]:
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


def _load_teacher(
    recipe: Recipe, data: TaskData, problem_type: ProblemType, places: Mapping[str, Place]
) -> tuple[PreTrainedModel, Names]:
    """Load the teacher or its base model, and match the labels of the data to its outputs."""
    if recipe.teacher.pooling is not None and problem_type.head.auto_class is not SentenceEncoder:
        raise ValueError(f"teacher.pooling: for sentence encoders only; this run is {problem_type.wording.title}.")
    if recipe.teacher.base is not None:
        if (recipe.data.task, recipe.data.metric, recipe.data.labels) == (None, None, None):
            problem_type.examples.refuse_names(data.names, data.task)
        with name_key("teacher.base"):
            base = places["teacher.base"]
            teacher = load_base(base, problem_type.head, names=data.names, seed=recipe.teacher.seed)
        return teacher, data.names
    assert recipe.teacher.path is not None
    with name_key("teacher.path"):
        refuse_other_head(places["teacher.path"], problem_type, metric=data.task.metric, name="teacher")
        options = {} if recipe.teacher.pooling is None else {"pooling": recipe.teacher.pooling}
        teacher = load_classifier(places["teacher.path"], problem_type.head, **options)
    outputs, declared = problem_type.head.name_outputs(teacher.config), data.task.labels is not None
    with name_key(f"data.label: {data.task.label!r}"):
        # Without any label, the classes are those of the teacher.
        return teacher, problem_type.examples.match_names(data.names or outputs, outputs, declared=declared)


def refuse_other_head(place: Place, problem_type: ProblemType, *, metric: str, name: str) -> None:
    """Refuse a fine-tuned model that predicts something else, before a head that it does not have is loaded.

    Args:
        place: folder or name of the model, or the model itself.
        problem_type: what the models of the run predict.
        metric: primary metric.
        name: what the model is in the run, for the message.

    Raises:
        ValueError: it predicts something else; or its configuration cannot be read.
    """
    config = read_config_with_head(place)
    has_head = any(each.endswith(HEAD_CLASSES) for each in config.architectures or ())
    is_plain = not has_head and problem_type.head.auto_class is SentenceEncoder  # teacher.pooling may complete it
    if problem_type.head.fits(config) or is_plain:
        return
    model, wording = place if isinstance(place, str) else type(place).__name__, problem_type.wording
    needs = f"but {wording.title} by {metric!r} needs {wording.outputs}"
    if has_embedding_head(config):
        raise ValueError(
            f"{model} is a sentence encoder, which makes embeddings, {needs}. A base model (teacher.base) may be one; "
            f"choose another {name}, or data.problem_type."
        )
    found = find_problem_type_of_model(config).wording.outputs
    raise ValueError(f"{model} predicts {found}, {needs}. Choose another {name}, data.metric or data.problem_type.")


def _load_tokenizer(
    recipe: Recipe, objects: Objects, teacher: PreTrainedModel, *, texts: int
) -> PreTrainedTokenizerBase:
    if objects.tokenizer is not None:
        with name_key("tokenizer"):
            return load_tokenizer(objects.tokenizer, teacher, texts=texts)
    with name_key("teacher"):
        return load_tokenizer(recipe.teacher.path or str(recipe.teacher.base), teacher, texts=texts)


def _load_source(
    recipe: Recipe,
    teacher: PreTrainedModel,
    problem_type: ProblemType,
    names: Names,
    places: Mapping[str, Place],
) -> PreTrainedModel | None:
    """Load the model whose layers the student copies; None for the teacher itself, or for `random` weights."""
    source = recipe.student.source
    if source in ("teacher", "random"):
        return None
    if source == "base" and recipe.teacher.base is None:
        raise ValueError("student.source: 'base' means the layers of teacher.base, which is not given.")
    with name_key("student.source"):
        head, like = problem_type.head, _choose_modules(teacher)
        model = load_base(places["student.source"], head, names=names, seed=recipe.seed, **like)
    if source != "base":
        # Another model may have other names for its labels; the student uses the teacher's names.
        model.config.id2label, model.config.label2id = teacher.config.id2label, teacher.config.label2id
    return model


def _load_internal_teacher(
    teacher: PreTrainedModel, problem_type: ProblemType, names: Names, places: Mapping[str, Place]
) -> PreTrainedModel | None:
    """Load the model that the internal losses learn from; None for the teacher itself.

    Its head is new and never read. The seed is fixed, so that runs of all seeds share its cached outputs.
    """
    if "teacher.internal" not in places:
        return None
    with name_key("teacher.internal"):
        return load_base(places["teacher.internal"], problem_type.head, names=names, **_choose_modules(teacher))


def _choose_modules(teacher: PreTrainedModel) -> dict[str, SentenceEncoder]:
    """Option by which another encoder gets the modules of the teacher: its embeddings must be of the same space."""
    return {"like": teacher} if isinstance(teacher, SentenceEncoder) else {}
