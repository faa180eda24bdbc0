"""Checks of models: can this folder be a teacher, a source or a student? Every command asks here.

Before loading: `check_files`. After loading: `check_classifier` for fine-tuned models, `check_base` for pre-trained
ones, `check_tokenizer`. Two models together: `check_student`, `check_source`, `check_internal_teacher` and
`check_windows`. More is in check_weights.py and check_labels.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.models.check_labels import read_label_names
from innerdistill.models.check_weights import LoadedModel, check_weights
from innerdistill.models.config_file import check_config_file
from innerdistill.models.families import find_embedding, max_positions
from innerdistill.models.heads import Head, has_label_names
from innerdistill.models.probe import Architecture, probe
from innerdistill.support.messages import join_names, shorten_value

SIZES = ("hidden_size", "num_heads")  # measures that losses of layers compare


def check_files(name: str, head: Head) -> None:
    """Check a model's folder before anything in it is loaded; a name on the Hugging Face Hub passes.

    Args:
        name: folder or name of the model.
        head: head of the model; its class is named in the advice on pickles.

    Raises:
        ValueError: an adapter, a folder without config.json, or with weights as a pickle only.
    """
    check_config_file(name)
    pickles = [file.name for file in Path(name).glob("*.bin") if file.name.startswith("pytorch_model")]
    if pickles and not any(Path(name).glob("*.safetensors")):
        raise ValueError(
            f"{name}: {pickles[0]} is a pickle, which may run code when it is read; only model.safetensors is read. If "
            f"you trust the file, convert it: {head.auto_class.__name__}.from_pretrained(folder, "
            "use_safetensors=False).save_pretrained(folder)."
        )


def check_classifier(loaded: LoadedModel) -> dict[int, str]:
    """Check that a fine-tuned model is complete: all weights, of the right shapes and finite, and label names.

    Args:
        loaded: the model as it was loaded.

    Returns:
        Names of its labels by id; those of a score mean nothing.

    Raises:
        ValueError: weights that are missing, unused, of another shape than config.json says or not finite; a base
            model, whose head would be random; wrong label names.
    """
    name, model = loaded.name, loaded.model
    check_weights(loaded, new_head=False)
    for key, value in model.named_parameters():
        if not value.isfinite().all():
            raise ValueError(f"{name}: {key} holds values that are not finite, so its predictions would not be either.")
    check_padding(loaded)
    return read_label_names(name, model.config) if has_label_names(model.config) else model.config.id2label


def check_base(loaded: LoadedModel) -> None:
    """Check that a pre-trained model has all weights of its encoder. Its head is new in any case.

    Args:
        loaded: the model as it was loaded.

    Raises:
        ValueError: weights of the encoder that are missing, unused or of another shape.
    """
    check_weights(loaded, new_head=True)
    check_padding(loaded)


def check_padding(loaded: LoadedModel) -> None:
    """Check that a model that counts positions from its padding id has one, and positions beyond it.

    Args:
        loaded: the model as it was loaded.

    Raises:
        ValueError: no padding id where it is needed, or no position left.
    """
    model = loaded.model
    embeddings = getattr(model.base_model, "embeddings", None)  # a module of transformers' that counts positions
    if getattr(embeddings, "padding_idx", 0) is None or max_positions(model) < 1:
        raise ValueError(
            f"{loaded.name}: pad_token_id in its config.json is {model.config.pad_token_id}, but its positions are "
            "counted from there; write the id of the tokenizer's padding token."
        )


def check_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, *, texts: int) -> None:
    """Check that a tokenizer knows words, and that the model can read all that it gives.

    Without a tokenizer's files, transformers makes up one that knows no words.

    Args:
        name: folder or name of the model.
        tokenizer: tokenizer loaded from there.
        model: model that reads its tokens.
        texts: texts of an example, 1 or 2.

    Raises:
        ValueError: it knows no words, or has no padding token; tokens or token types that the model does not have.
    """
    vocabulary = tokenizer.get_vocab()
    if set(vocabulary.values()) <= set(tokenizer.all_special_ids):
        raise ValueError(f"{name}: its tokenizer knows no words; copy the model's tokenizer.json or vocabulary there.")
    if tokenizer.pad_token_id is None:
        raise ValueError(f"{name}: the tokenizer has no padding token.")
    encoded = tokenizer(*["text"] * texts)
    known = getattr(model.config.get_text_config(), "vocab_size", None)
    highest = max([*vocabulary.values(), *encoded["input_ids"]])
    if known is not None and highest >= known:
        token = shorten_value(tokenizer.convert_ids_to_tokens(highest))
        raise ValueError(
            f"{name}: its tokenizer gives the token id {highest} ({token}), but the model has only {known} tokens; "
            "use the model's own tokenizer, or resize the model (resize_token_embeddings) and train it."
        )
    types = find_embedding(model, "token_type_embeddings")
    highest = max(encoded.get("token_type_ids") or [0])
    if types is not None and highest >= types.num_embeddings:
        raise ValueError(
            f"{name}: its tokenizer gives a text the token type {highest}, but the model has only "
            f"{types.num_embeddings} (type_vocab_size); take token_type_ids out of model_input_names in its "
            "tokenizer_config.json."
        )


def check_student(
    student: PreTrainedModel, teacher: PreTrainedModel, head: Head, *, names: Sequence[str] | None = None
) -> None:
    """Check that a saved student has the outputs of its teacher, in the same order, and reads the same tokens.

    Args:
        student: model loaded from anywhere.
        teacher: its teacher.
        head: head of both.
        names: class names of the data in the order of the teacher's outputs, which a student may have too.

    Raises:
        ValueError: other outputs, another order of the labels, or another vocabulary.
    """
    ours, theirs = head.name_outputs(student.config), head.name_outputs(teacher.config)
    if ours not in (theirs, names):
        raise ValueError(
            f"{student.name_or_path}: its outputs are {join_names(ours)}, the teacher's are {join_names(theirs)}; both "
            "must be the same, in the same order."
        )
    check_same_inputs(student, teacher, what=student.name_or_path)


def check_same_inputs(student: PreTrainedModel, teacher: PreTrainedModel, *, what: str, role: str = "student") -> None:
    """Check that student and teacher can read the same tokens.

    Args:
        student: student, or the model whose layers it copies.
        teacher: its teacher.
        what: folder of the student or key of the recipe, for the error message.
        role: what the first model is, for the error message.

    Raises:
        ValueError: embedding tables of different sizes, or positions counted from another padding id.
    """
    for key, ours, theirs in list_other_inputs(student, teacher):
        raise ValueError(
            f"{what}: the teacher's {key} is {theirs}, the {role}'s {ours}; both read the same tokens, so these "
            "must be equal."
        )


def list_other_inputs(student: PreTrainedModel, teacher: PreTrainedModel) -> list[tuple[str, Any, Any]]:
    """List what keeps two models from reading the same tokens.

    Args:
        student: student, or the model whose layers it copies.
        teacher: its teacher.

    Returns:
        Key of the configuration, value of the student and value of the teacher, for each that differs. The last one
        may be the number of positions, which also depends on the padding id.
    """
    keys = ("vocab_size", "max_position_embeddings", "type_vocab_size")
    both = [(key, getattr(student.config, key, None), getattr(teacher.config, key, None)) for key in keys]
    both.append(("number of positions (pad_token_id)", max_positions(student), max_positions(teacher)))
    return [(key, ours, theirs) for key, ours, theirs in both if ours != theirs]


def check_source(
    source: PreTrainedModel,
    teacher: PreTrainedModel,
    architecture: Architecture,
    *,
    activation_losses: Sequence[str],
    copies_head: bool,
) -> None:
    """Check that a student with the layers of another model can be compared with its teacher.

    Attention maps are compared head by head. The hidden size may differ where no loss compares activations.

    Args:
        source: model whose layers the student copies.
        teacher: its teacher.
        architecture: number of layers, hidden size and heads of the teacher.
        activation_losses: names of the losses of the run that compare activations.
        copies_head: whether the student copies the teacher's head.

    Raises:
        ValueError: another vocabulary, hidden size or number of heads, or a head that does not fit.
    """
    check_same_inputs(source, teacher, what="student.source")
    reasons = {"num_heads": "attention is compared head by head"}
    if copies_head:
        reasons["hidden_size"] = "student.head=teacher copies the head"
    if activation_losses:
        verb = "compares" if len(activation_losses) == 1 else "compare"
        reasons["hidden_size"] = f"{', '.join(activation_losses)} {verb} activations"
    for measure, ours, theirs in list_other_measures(source, architecture, SIZES):
        if measure in reasons:
            raise ValueError(
                f"student.source: the teacher's {measure} is {theirs}, the student's {ours}, and {reasons[measure]}. "
                "To learn from the teacher's outputs alone, set schedule.name=soft_labels."
            )
    if copies_head and type(source) is not type(teacher):
        raise ValueError(f"student.head: a {type(teacher).__name__}'s head does not fit a {type(source).__name__}.")


def check_internal_teacher(internal: PreTrainedModel, teacher: PreTrainedModel, architecture: Architecture) -> None:
    """Check that a model can take the teacher's place in the internal losses.

    Args:
        internal: model that the internal losses learn from; prepared by the check.
        teacher: the teacher.
        architecture: number of layers, hidden size and heads of the teacher.

    Raises:
        ValueError: another vocabulary, number of layers, hidden size or number of heads.
    """
    check_same_inputs(internal, teacher, what="teacher.internal", role="internal teacher")
    measures = ("num_layers", "hidden_size", "num_heads")
    for measure, ours, theirs in list_other_measures(internal, architecture, measures):
        raise ValueError(
            f"teacher.internal: it takes the teacher's place in the internal losses, so both must have the same "
            f"{measure}, but the teacher has {theirs} and {internal.name_or_path} has {ours}."
        )


def list_other_measures(
    model: PreTrainedModel, architecture: Architecture, measures: Sequence[str]
) -> list[tuple[str, int, int]]:
    """List the measures in which a model differs from an architecture.

    Args:
        model: the model; prepared.
        architecture: number of layers, hidden size and heads of another one.
        measures: names of the measures.

    Returns:
        Measure, value of the model and value of the architecture, for each that differs.

    Raises:
        ValueError: a model that `probe` refuses.
    """
    own = probe(model)
    both = ((measure, getattr(own, measure), getattr(architecture, measure)) for measure in measures)
    return [(measure, ours, theirs) for measure, ours, theirs in both if ours != theirs]


def check_windows(
    pairs: Mapping[int, int], copied: Mapping[int, int], *, source: PreTrainedModel, teacher: PreTrainedModel
) -> None:
    """Refuse a student layer that attends to a window where its teacher layer attends to the whole text.

    The attention KL would be infinite there.

    Args:
        pairs: teacher layer by student layer.
        copied: layer of the source by student layer.
        source: model whose layers the student copies.
        teacher: its teacher.

    Raises:
        ValueError: there is such a layer.
    """
    source_types = getattr(source.config, "layer_types", None)
    teacher_types = getattr(teacher.config, "layer_types", None)
    if not source_types or not teacher_types:
        return
    for k, m in pairs.items():
        student_type, teacher_type = source_types[copied[k] - 1], teacher_types[m - 1]
        if (student_type, teacher_type) == ("sliding_attention", "full_attention"):
            raise ValueError(
                f"layer_map: teacher layer {m} attends to the whole text, student layer {k} only to a window of it; "
                "map layers of the same kind, choose other student.layers, or set losses.attention_kl=0."
            )
