"""read_model: what a recipe needs to know of its teacher or base model. No weights are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from innerdistill.data.class_labels import are_stock_names
from innerdistill.first_recipe.request import Request
from innerdistill.models.check_labels import read_label_names
from innerdistill.models.families import has_family
from innerdistill.models.heads import HEAD_CLASSES, has_label_names
from innerdistill.models.other_families import explain_refusal
from innerdistill.models.pretrained import load_tokenizer, longest_input, read_config
from innerdistill.problem_types.problem_type import ProblemType
from innerdistill.problem_types.problem_types import PROBLEM_TYPES, find_problem_type_of_model
from innerdistill.problem_types.token_classification import TOKEN_CLASSIFICATION
from innerdistill.support.messages import join_names, name_key


@dataclass(frozen=True)
class Model:
    """A teacher, or a model that is fine-tuned as one.

    Attributes:
        name: its folder or name.
        config: its configuration.
        problem_type: what it predicts; None for a model that is fine-tuned first.
        outputs: names of its outputs by id; empty for a model that is fine-tuned first.
    """

    name: str
    config: PretrainedConfig
    problem_type: ProblemType | None
    outputs: tuple[str, ...]

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return int(self.config.num_hidden_layers)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of its outputs that somebody gave them: not LABEL_0, LABEL_1, ..., and not that of a score."""
        is_named = has_label_names(self.config) and not are_stock_names(self.outputs)
        return self.outputs if is_named else ()

    @property
    def predicts_tags(self) -> bool:
        """Whether it is known to predict a tag for each word."""
        return self.problem_type is TOKEN_CLASSIFICATION

    @property
    def predicts_scores(self) -> bool:
        """Whether it is known to predict scores."""
        return self.problem_type is not None and self.problem_type.predictions.shape == "scores"


def read_model(request: Request) -> Model:
    """Read the configuration of a model.

    Args:
        request: says which model, and whether it is a teacher.

    Returns:
        What a recipe needs to know of it.

    Raises:
        ValueError: no model, a family that is not supported, a teacher without a head, wrong label names.
    """
    name = request.model
    with name_key(request.option):
        config = read_config(name)
        if not has_family(config):
            raise ValueError(
                f"{name}: layers of the family {config.model_type!r} are not supported ({explain_refusal(config)}), so "
                "init finds no student for it. Its outputs can be learned: write a recipe with "
                "schedule.name=soft_labels, and the student's checkpoint in student.source."
            )
        if not request.is_teacher:
            return Model(name, config, None, ())
        classes = config.architectures or []
        if classes and not any(each.endswith(HEAD_CLASSES) for each in classes):
            raise ValueError(
                f"{name}: this is a {join_names(classes)}, without a head for classes, scores or tags. "
                "To fine-tune it first, give it as --base."
            )
        problem_type = find_problem_type_of_model(config)
        if problem_type.examples.gather is not None:
            raise ValueError(
                f"{name}: this is a ranker, and init guesses no recipe of queries with documents. Write data.text="
                "[query, document] and data.label yourself. If it scores pairs, also data.problem_type=regression."
            )
        if has_label_names(config):
            config.id2label = read_label_names(name, config)
        return Model(name, config, problem_type, problem_type.head.name_outputs(config))


def load_reader(model: Model, *, texts: int) -> tuple[PreTrainedTokenizerBase, int]:
    """Load the tokenizer of a model, and find the longest text that the model reads.

    Args:
        model: the model.
        texts: texts of an example, 1 or 2.

    Returns:
        The tokenizer, and a number of tokens.

    Raises:
        ValueError: no tokenizer, or one that does not belong to the model.
    """
    head = (model.problem_type or next(iter(PROBLEM_TYPES.values()))).head
    with torch.device("meta"):  # shapes without weights
        empty = head.auto_class.from_config(model.config)
    tokenizer = load_tokenizer(model.name, empty, texts=texts)
    return tokenizer, longest_input(tokenizer, empty, None)
